import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import { importX } from "eslint-plugin-import-x";
import tseslint from "typescript-eslint";

import { bannedFrom, layers } from "./scripts/layers.js";

const deepest = 3; // folders below src/ that the layer rules reach

/**
 * "Imports only point down": the imports that one layer must not contain, each with the reason.
 * @param {import("./scripts/layers.js").Layer} layer
 * @param {number} depth folders between src/ and the file
 * @returns {import("eslint").Linter.Config}
 */
function layerRule(layer, depth) {
  const file = depth === 0 ? `${layer.name}.ts` : `${layer.name}/${"*/".repeat(depth - 1)}*.ts`;
  const root = depth === 0 ? "\\./" : `(\\.\\./){${depth}}`;
  return {
    name: `repkit/layer/${layer.name}/${depth}`,
    files: [`src/${file}`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: bannedFrom(layer).map((name) => ({
            regex: `^${root}${name}(/|\\.js$)`,
            message: `src/${layer.name} must not import src/${name}: ${layer.reason}.`,
          })),
        },
      ],
    },
  };
}

const layerRules = layers.flatMap((layer) =>
  Array.from({ length: deepest + 1 }, (_, depth) => layerRule(layer, depth)),
);

export default defineConfig(
  globalIgnores(["dist/", ".venv/", "coverage/", "runs/", "data/", "test/fixtures/"]),
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["**/*.{js,ts}"],
    extends: [js.configs.recommended, tseslint.configs.recommendedTypeChecked],
    plugins: { "import-x": importX },
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      eqeqeq: "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrorsIgnorePattern: "^_" },
      ],
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { allowDefaultCaseForExhaustiveSwitch: false, requireDefaultForNonUnion: true },
      ],
      "import-x/no-duplicates": "error",
      "import-x/order": [
        "error",
        {
          groups: ["builtin", "external", ["parent", "sibling", "index"]],
          "newlines-between": "always",
          alphabetize: { order: "asc", caseInsensitive: true },
        },
      ],
      // The type check of tsc finds what is not defined.
      "no-undef": "off",
      // Not kept: numbers in messages need no String(); an async function may satisfy an interface
      // without awaiting anything.
      "@typescript-eslint/restrict-template-expressions": "off",
      "@typescript-eslint/require-await": "off",
    },
  },
  layerRules,
  {
    // The launcher loads the build, which need not exist when linting; so it is checked without types.
    files: ["bin/**/*.js"],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: { process: "readonly", URL: "readonly" } },
    rules: {
      "no-undef": "error",
      "@typescript-eslint/consistent-type-imports": "off",
    },
  },
);
