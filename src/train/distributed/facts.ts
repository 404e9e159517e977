/** What all processes of a job must agree on. */
import { usageError } from "../../errors.js";
import type { TrainConfig } from "../config.js";
import type { Folders } from "../open-data.js";
import { FREE } from "../resume.js";
import type { Team } from "./team.js";

type Facts = Readonly<Record<string, string>>;

/** Settings, but those of a place, and what was found of the images. */
export function factsOf(config: TrainConfig, { train, val }: Folders): Facts {
  const settings = Object.entries(config)
    .filter(([name]) => !FREE.has(name) || name === "maxSteps" || name === "valBatchSize")
    .map(([name, value]) => [name, JSON.stringify(value)] as const);
  return {
    ...Object.fromEntries(settings),
    "training images": String(train.files.length),
    "validation images": String(val.files.length),
    classes: JSON.stringify(train.classes),
  };
}

/** @throws RepkitError "usage" where this process was told, or found, something else than the leader */
export async function checkSame(team: Team, facts: Facts): Promise<void> {
  const leader = await team.fromLeader("facts", () => facts);
  const name = Object.keys(facts).find((key) => facts[key] !== leader[key]);
  if (name === undefined) return;
  const [own, other] = [facts, leader].map((from) => shortened(from[name] ?? "none"));
  throw usageError(
    `${name}: ${own} here and ${other} in rank 0; start all processes with the same settings and images`,
  );
}

function shortened(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
