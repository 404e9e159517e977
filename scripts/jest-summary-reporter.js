// Ends every jest run with one plain line, "N passed, N failed, N skipped", for those who read logs.

export default class SummaryReporter {
  /**
   * @param {Set<unknown>} _contexts
   * @param {import("@jest/reporters").AggregatedResult} results
   */
  onRunComplete(_contexts, results) {
    const passed = results.numPassedTests;
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites; // or could not start
    const skipped = results.numPendingTests + results.numTodoTests;
    // jest prints its own summary after every other reporter, hence the wait for the exit.
    process.once("exit", () => {
      process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
    });
  }
}
