/** Completion for bash, from 3.2 (macOS) on, without the bash-completion package. */
import type { CompletedCommand, Values } from "./tree.js";

export function bashCompletion(commands: readonly CompletedCommand[]): string {
  const names = commands.map(({ name }) => name).join(" ");
  return `# bash completion of repkit. For this shell:  source <(repkit completion bash)
# For every shell: add that line to ~/.bashrc.

# Sets names and files to what the flag $2 of the command $1 takes; fails where it takes nothing.
_repkit_values() {
  case "$1 $2" in
${cases(flagValues(commands))}
    *) return 1 ;;
  esac
}

# The same for an argument: its place is $2, counted from 0.
_repkit_place() {
  case "$1 $2" in
${cases(placeValues(commands))}
    *) return 1 ;;
  esac
}

_repkit_flags() {
  case $1 in
${commands.map(({ name, flags }) => `    ${name}) names="${flags.flatMap((flag) => flag.names).join(" ")}" ;;`).join("\n")}
    *) names="-h --help -V --version" ;;
  esac
}

_repkit() {
  local word cur names="" files=none command="" flag="" place=0 glue=0 last
  local -a words
  words=()
  # Bash takes --engine=tfjs:wasm for five words.
  for word in "\${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    if [[ $glue == 1 || $word == [:=] ]]; then
      last=$((\${#words[@]} - 1))
      words[last]="\${words[last]}$word"
    else
      words[\${#words[@]}]=$word
    fi
    if [[ $word == [:=] ]]; then glue=1; else glue=0; fi
  done
  last=$((\${#words[@]} - 1))
  cur=\${words[last]}
  for word in "\${words[@]:1:last-1}"; do
    if [[ -n $flag ]]; then
      flag=""
    elif [[ $word == -* ]]; then
      if _repkit_values "$command" "$word"; then flag=$word; fi
    elif [[ -z $command ]]; then
      command=$word
    else
      place=$((place + 1))
    fi
  done
  names="" files=none
  if [[ -z $flag && $cur == --*=* ]]; then
    flag=\${cur%%=*}
    cur=\${cur#*=}
  fi
  if [[ -n $flag ]]; then
    _repkit_values "$command" "$flag"
  elif [[ $cur == -* ]]; then
    _repkit_flags "$command"
  elif [[ -z $command ]]; then
    names="${names}"
  else
    _repkit_place "$command" "$place"
  fi
  COMPREPLY=($(compgen -W "$names" -- "$cur"))
  if [[ $files == none ]]; then
    compopt +o bashdefault +o default 2>/dev/null
  elif [[ -n $names ]]; then
    # Files alone are bash's own business: it knows about quotes and ~.
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do COMPREPLY[\${#COMPREPLY[@]}]=$word; done < <(compgen -f -- "$cur")
  fi
  # Only what follows the last colon is replaced.
  if [[ $cur == *:* && $COMP_WORDBREAKS == *:* && \${#COMPREPLY[@]} -gt 0 ]]; then
    COMPREPLY=("\${COMPREPLY[@]#"\${cur%"\${cur##*:}"}"}")
  fi
}

complete -o bashdefault -o default -F _repkit repkit
`;
}

interface Pattern {
  readonly pattern: string;
  readonly values: Values;
}

function flagValues(commands: readonly CompletedCommand[]): readonly Pattern[] {
  return commands.flatMap(({ name, flags }) =>
    flags.flatMap(({ names, values }) =>
      values === undefined ? [] : names.map((own) => ({ pattern: `"${name} ${own}"`, values })),
    ),
  );
}

function placeValues(commands: readonly CompletedCommand[]): readonly Pattern[] {
  return commands.flatMap(({ name, places, repeats }) =>
    places.map((values, index) => {
      const isOpen = repeats && index === places.length - 1;
      return { pattern: isOpen ? `"${name} "*` : `"${name} ${index}"`, values };
    }),
  );
}

/** One branch for all that take the same. */
function cases(patterns: readonly Pattern[]): string {
  const branches = new Map<string, string[]>();
  for (const { pattern, values } of patterns) {
    const body = `names="${values.names.join(" ")}" files=${values.files}`;
    branches.set(body, [...(branches.get(body) ?? []), pattern]);
  }
  return [...branches]
    .map(([body, all]) => `    ${all.join(" | \\\n    ")})\n      ${body} ;;`)
    .join("\n");
}
