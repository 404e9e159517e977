/** Completion for zsh, by its _arguments. */
import type { CompletedCommand, CompletedFlag, Values } from "./tree.js";

export function zshCompletion(commands: readonly CompletedCommand[]): string {
  return `#compdef repkit
# zsh completion of repkit. Save it in a folder of $fpath:
#   repkit completion zsh > ~/.zsh/completions/_repkit
# and in ~/.zshrc, before compinit:  fpath=(~/.zsh/completions $fpath)
# Or, after compinit:  source <(repkit completion zsh)

_repkit() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C '(- *)'{-h,--help}'[show help]' '(- *)'{-V,--version}'[print the version]' \\
    '1:command:->command' '*::argument:->argument'
  case $state in
    command)
      local -a commands
      commands=(
${commands.map(({ name, summary }) => `        ${quote(`${escapeColons(name)}:${escapeColons(summary)}`)}`).join("\n")}
      )
      _describe command commands
      ;;
    argument)
      case $words[1] in
${commands.map(branch).join("\n")}
      esac
      ;;
  esac
}

if [[ $funcstack[1] == _repkit ]]; then _repkit "$@"; else compdef _repkit repkit; fi
`;
}

function branch({ name, flags, places, repeats }: CompletedCommand): string {
  const specs = [
    ...flags.flatMap(flagSpecs),
    ...places.map((values, index) => {
      const isOpen = repeats && index === places.length - 1;
      return `${isOpen ? "*" : String(index + 1)}:${values.files === "none" ? "name" : "file"}:${action(values)}`;
    }),
  ];
  const lines = specs.map((spec) => `            ${quote(spec)}`);
  return `        ${name})\n          _arguments \\\n${lines.join(" \\\n")}\n          ;;`;
}

function flagSpecs({ names, summary, values }: CompletedFlag): readonly string[] {
  const text = summary.replace(/[[\]\\]/g, "\\$&");
  const others = names.length > 1 ? `(${names.join(" ")})` : "";
  return names.map((name) => {
    if (values === undefined) return `${others}${name}[${text}]`;
    const joined = name.startsWith("--") ? "=" : "";
    return `${others}${name}${joined}[${text}]:value:${action(values)}`;
  });
}

function action({ names, files }: Values): string {
  const words = names.map(escapeColons).join(" ");
  const paths = files === "folders" ? "_files -/" : "_files";
  if (files === "none") return words === "" ? " " : `(${words})`;
  return words === "" ? paths : `_alternative "name:name:(${words})" "file:file:${paths}"`;
}

function escapeColons(text: string): string {
  return text.replaceAll(":", "\\:");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
