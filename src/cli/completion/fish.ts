/** Completion for fish. */
import type { CompletedCommand, CompletedFlag, Values } from "./tree.js";

export function fishCompletion(commands: readonly CompletedCommand[]): string {
  const lines = [
    "# fish completion of repkit:",
    "#   repkit completion fish > ~/.config/fish/completions/repkit.fish",
    "complete -c repkit -f",
    "complete -c repkit -n __fish_use_subcommand -s h -l help -d 'show help'",
    "complete -c repkit -n __fish_use_subcommand -s V -l version -d 'print the version'",
    ...commands.map(
      ({ name, summary }) =>
        `complete -c repkit -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`,
    ),
    ...commands.flatMap(ofCommand),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

function ofCommand({ name, flags, places }: CompletedCommand): readonly string[] {
  const start = `complete -c repkit -n '__fish_seen_subcommand_from ${name}'`;
  const names = [...new Set(places.flatMap((values) => values.names))];
  const takesFiles = places.some(({ files }) => files !== "none");
  return [
    ...(names.length > 0 ? [`${start} -a ${quote(names.join(" "))}`] : []),
    ...(takesFiles ? [`${start} -F`] : []),
    ...flags.map((flag) => `${start}${flagText(flag)}`),
  ];
}

function flagText({ names, summary, values }: CompletedFlag): string {
  const spelled = names.map((name) =>
    name.startsWith("--") ? ` -l ${name.slice(2)}` : ` -s ${name.slice(1)}`,
  );
  return `${spelled.join("")}${valueText(values)} -d ${quote(summary)}`;
}

function valueText(values: Values | undefined): string {
  if (values === undefined) return "";
  const { names, files } = values;
  const words = names.length > 0 ? ` -a ${quote(names.join(" "))}` : "";
  // -x: a value, and no file; -r -F: a value, which may be a file.
  return files === "none" ? ` -x${words}` : ` -r -F${words}`;
}

function quote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
