// The logging application: what app.json names.

export * from "./records";
export * from "./history";
export * from "./callers";
