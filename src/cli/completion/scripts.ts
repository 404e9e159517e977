/** Completion scripts: everything that can be typed stands in them, so that a key press starts no process. */
import type { CommandWords, FlagWords } from "./vocabulary.js";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export function completionScript(shell: Shell, commands: readonly CommandWords[]): string {
  switch (shell) {
    case "bash":
      return bashScript(commands);
    case "zsh":
      return zshScript(commands);
    case "fish":
      return fishScript(commands);
  }
}

/**
 * Bash breaks words at `:` and `=`; names such as `tfjs:wasm` have one. So the line is split at blanks
 * here, and of what is offered bash gets the part behind the last break.
 */
function bashScript(commands: readonly CommandWords[]): string {
  return `# bash completion of repkit
_repkit() {
  local -a words names
  local line="\${COMP_LINE:0:COMP_POINT}" current previous command="" word
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current="\${words[\${#words[@]}-1]}"
  previous="\${words[\${#words[@]}-2]}"
  for word in "\${words[@]:1:\${#words[@]}-2}"; do
    case "$word" in
      ${commands.map(({ word }) => word).join("|")}) command="$word"; break ;;
    esac
  done
  names=()
  case "$command $previous" in
${commands.flatMap(bashValues).join("\n")}
    *)
      case "$command" in
        "") names=(${commands.map(({ word }) => word).join(" ")} --help --version) ;;
${commands.map(bashCommand).join("\n")}
      esac ;;
  esac
  local before="\${current%"\${current##*[:=]}"}"
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("\${word#"$before"}")
  done < <(compgen -W "\${names[*]}" -- "$current")
}
complete -o default -F _repkit repkit
`;
}

/** Where the flag before the cursor takes a value: its names, or files, which bash adds by itself. */
function bashValues({ word, flags }: CommandWords): string[] {
  return flags.flatMap(({ spellings, values }) =>
    values === undefined
      ? []
      : [
          `    ${spellings.map((spelling) => `"${word} ${spelling}"`).join("|")}) names=(${values.join(" ")}) ;;`,
        ],
  );
}

function bashCommand({ word, flags, names }: CommandWords): string {
  const spellings = flags.flatMap((flag) => flag.spellings);
  return `        ${word}) if [[ $current == -* ]]; then names=(${spellings.join(" ")}); else names=(${names.join(" ")}); fi ;;`;
}

function zshScript(commands: readonly CommandWords[]): string {
  return `#compdef repkit
# zsh completion of repkit
_repkit() {
  local context state line
  local -a commands
  commands=(
${commands.map(({ word, help }) => `    ${quoted(`${word}:${help}`)}`).join("\n")}
  )
  _arguments -C '1: :->command' '*:: :->rest' && return
  case "$state" in
    command) _describe command commands ;;
    rest)
      case "\${words[1]}" in
${commands.map(zshCommand).join("\n")}
      esac ;;
  esac
}
if [ "\${funcstack[1]}" = _repkit ]; then _repkit "$@"; else compdef _repkit repkit; fi
`;
}

function zshCommand({ word, flags, names }: CommandWords): string {
  const argument = names.length > 0 ? `*: :(${names.join(" ")})` : "*: :_files";
  const lines = [...flags.map(zshFlag), quoted(argument)];
  return `        ${word}) _arguments \\\n          ${lines.join(" \\\n          ")} ;;`;
}

function zshFlag({ spellings, help, values }: FlagWords): string {
  const text = help.replace(/[[\]:\\]/g, (special) => `\\${special}`);
  const value =
    values === undefined ? "" : values.length > 0 ? `: :(${escapeColons(values)})` : ": :_files";
  const exclusive = spellings.length > 1 ? quoted(`(${spellings.join(" ")})`) : "";
  const spelt = spellings.length > 1 ? `{${spellings.join(",")}}` : quoted(spellings[0] ?? "");
  return `${exclusive}${spelt}${quoted(`[${text}]${value}`)}`;
}

/** In a list of _arguments a colon would begin another part. */
function escapeColons(values: readonly string[]): string {
  return values.join(" ").replaceAll(":", "\\:");
}

function fishScript(commands: readonly CommandWords[]): string {
  const names = commands.map(({ word }) => word).join(" ");
  return [
    "# fish completion of repkit",
    ...commands.flatMap(({ word, help, flags, names: own }) => [
      `complete -c repkit -n "not __fish_seen_subcommand_from ${names}" -f -a ${word} -d ${quoted(help)}`,
      ...(own.length > 0
        ? [
            `complete -c repkit -n "__fish_seen_subcommand_from ${word}" -f -a ${quoted(own.join(" "))}`,
          ]
        : []),
      ...flags.map((flag) => fishFlag(word, flag)),
    ]),
    "",
  ].join("\n");
}

function fishFlag(command: string, { spellings, help, values }: FlagWords): string {
  const names = spellings.map((spelling) =>
    spelling.startsWith("--") ? `-l ${spelling.slice(2)}` : `-s ${spelling.slice(1)}`,
  );
  const value =
    values === undefined ? "" : values.length > 0 ? ` -x -a ${quoted(values.join(" "))}` : " -r";
  return `complete -c repkit -n "__fish_seen_subcommand_from ${command}" ${names.join(" ")}${value} -d ${quoted(help)}`;
}

/** In single quotes, for all three shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
