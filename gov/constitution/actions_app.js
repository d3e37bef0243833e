// The JavaScript application and its runtime.

function checkPolicies(policies, field) {
  checkType(policies, "array", field);
  policies.forEach((policy, i) => {
    // A name that no node knows makes the endpoint fail, not the proposal.
    if (typeof policy === "string") {
      return;
    }
    if (typeof policy !== "object") {
      throw new Error(
        `${field}[${i}] must be of type string or object but is ${typeof policy}`,
      );
    }
    const all = policy["all_of"];
    checkType(all, "array", `${field}[${i}].all_of`);
    all.forEach((name, j) =>
      checkType(name, "string", `${field}[${i}].all_of[${j}]`),
    );
  });
}

// Below these every request of every application would fail, and nodes raise them anyway.
const RUNTIME_FLOORS = {
  max_heap_bytes: 1024 * 1024,
  max_stack_bytes: 16 * 1024,
  max_execution_time_ms: 10,
};

function checkLimit(value, name, field) {
  checkType(value, "integer", field);
  if (value < RUNTIME_FLOORS[name]) {
    throw new Error(`${field} must be at least ${RUNTIME_FLOORS[name]}`);
  }
}

// What an endpoint has that CCF does not know stands under the key "chancery".
function checkExtensions(own, field) {
  checkType(own, "object?", field);
  for (const name of Object.keys(own || {})) {
    checkEnum(name, ["limits", "record"], `a property of ${field}`);
  }
  checkType(own?.record, "boolean?", `${field}.record`);
  checkType(own?.limits, "object?", `${field}.limits`);
  for (const [name, value] of Object.entries(own?.limits || {})) {
    checkEnum(name, Object.keys(RUNTIME_FLOORS), `a property of ${field}.limits`);
    checkLimit(value, name, `${field}.limits.${name}`);
  }
}

function checkEndpoint(info, modules, field) {
  checkType(info, "object", field);
  checkType(info.js_module, "string", `${field}.js_module`);
  checkType(info.js_function, "string", `${field}.js_function`);
  checkEnum(info.mode, ["readwrite", "readonly", "historical"], `${field}.mode`);
  checkEnum(
    info.forwarding_required,
    ["sometimes", "always", "never"],
    `${field}.forwarding_required`,
  );
  if (info.redirection_strategy !== undefined) {
    checkEnum(
      info.redirection_strategy,
      ["none", "to_primary", "to_backup"],
      `${field}.redirection_strategy`,
    );
  }
  checkType(info.openapi, "object?", `${field}.openapi`);
  checkType(info.openapi_hidden, "boolean?", `${field}.openapi_hidden`);
  checkPolicies(info.authn_policies, `${field}.authn_policies`);
  checkExtensions(info.chancery, `${field}.chancery`);
  if (!modules.some((m) => m.name === info.js_module)) {
    throw new Error(`module '${info.js_module}' not found in bundle`);
  }
}

// visit(url, method, info) for every endpoint of a bundle.
function eachEndpoint(bundle, visit) {
  for (const [url, methods] of Object.entries(bundle.metadata.endpoints)) {
    checkType(methods, "object", `bundle.metadata.endpoints["${url}"]`);
    for (const [method, info] of Object.entries(methods)) {
      visit(url, method, info);
    }
  }
}

define(
  "set_js_app",
  (args) => {
    const bundle = args.bundle;
    checkType(bundle, "object", "bundle");
    checkType(bundle.modules, "array", "bundle.modules");
    bundle.modules.forEach((m, i) => {
      checkType(m, "object", `bundle.modules[${i}]`);
      checkType(m.name, "string", `bundle.modules[${i}].name`);
      checkType(m.module, "string", `bundle.modules[${i}].module`);
    });
    checkType(bundle.metadata, "object", "bundle.metadata");
    checkType(bundle.metadata.endpoints, "object", "bundle.metadata.endpoints");
    eachEndpoint(bundle, (url, method, info) =>
      checkEndpoint(
        info,
        bundle.modules,
        `bundle.metadata.endpoints["${url}"]["${method}"]`,
      ),
    );
    checkType(args.disable_bytecode_cache, "boolean?", "disable_bytecode_cache");
  },
  (args) => {
    const bundle = args.bundle;
    const modules = ccf.kv["public:ccf.gov.modules"];
    const endpoints = ccf.kv["public:ccf.gov.endpoints"];
    modules.clear();
    endpoints.clear();
    for (const m of bundle.modules) {
      modules.set(ccf.strToBuf(`/${m.name}`), ccf.strToBuf(m.module));
    }
    if (args.disable_bytecode_cache) {
      ccf.kv["public:ccf.gov.modules_quickjs_bytecode"].clear();
      ccf.kv["public:ccf.gov.modules_quickjs_version"].clear();
    } else {
      ccf.refreshAppBytecodeCache();
    }
    // A new value of this table makes every node drop the interpreters that it kept.
    writeJson("public:ccf.gov.interpreter.flush", getSingletonKvKey(), true);
    eachEndpoint(bundle, (url, method, info) => {
      info.js_module = `/${info.js_module}`;
      endpoints.set(
        ccf.strToBuf(`${method.toUpperCase()} ${url}`),
        ccf.jsonCompatibleToBuf(info),
      );
    });
  },
);

define("remove_js_app", noCheck, () => {
  for (const table of [
    "public:ccf.gov.modules",
    "public:ccf.gov.modules_quickjs_bytecode",
    "public:ccf.gov.modules_quickjs_version",
    "public:ccf.gov.interpreter.flush",
    "public:ccf.gov.endpoints",
  ]) {
    ccf.kv[table].clear();
  }
});

define(
  "set_js_runtime_options",
  (args) => {
    for (const field of Object.keys(RUNTIME_FLOORS)) {
      checkLimit(args[field], field, field);
    }
    checkType(args.log_exception_details, "boolean?", "log_exception_details");
    checkType(
      args.return_exception_details,
      "boolean?",
      "return_exception_details",
    );
    checkType(
      args.max_cached_interpreters,
      "integer?",
      "max_cached_interpreters",
    );
  },
  (args) =>
    writeJson("public:ccf.gov.js_runtime_options", getSingletonKvKey(), args),
);

define("refresh_js_app_bytecode_cache", noCheck, () =>
  ccf.refreshAppBytecodeCache(),
);
