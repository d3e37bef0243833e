// The logging application: what app.json names.

export * from "./records.js";
export * from "./history.js";
export * from "./callers.js";
