// Two projects: `unit` runs src/ directly; `e2e` spawns the built command line from dist/.

/** @type {import("jest").Config} */
const shared = {
  testEnvironment: "node",
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "\\.ts$": [
      "@swc/jest",
      { swcrc: false, jsc: { target: "es2023", parser: { syntax: "typescript" } } },
    ],
  },
  // TypeScript sources import each other by the name of the compiled file.
  moduleNameMapper: { "^(\\.{1,2}/.*)\\.js$": ["$1.js", "$1.ts"] },
  globalSetup: "<rootDir>/test/global-setup.js",
  setupFilesAfterEnv: ["<rootDir>/test/setup.ts"],
};

/** @type {import("jest").Config} */
const config = {
  projects: [
    {
      ...shared,
      displayName: "unit",
      testMatch: ["<rootDir>/test/**/*.test.ts"],
      testPathIgnorePatterns: ["/node_modules/", "<rootDir>/test/e2e/"],
    },
    {
      ...shared,
      displayName: "e2e",
      testMatch: ["<rootDir>/test/e2e/**/*.test.ts"],
    },
  ],
  reporters: ["default", "<rootDir>/scripts/jest-summary-reporter.js"],
};

export default config;
