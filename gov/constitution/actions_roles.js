// Roles: named sets of action names, for applications that let their users act under a
// role. A role's table holds one key per action, the JSON text of its name.

define(
  "set_role_definition",
  (args) => {
    checkType(args.role, "string", "role");
    checkType(args.actions, "array", "actions");
    args.actions.forEach((name, i) =>
      checkType(name, "string", `actions[${i}]`),
    );
  },
  (args) => {
    const role = ccf.kv[`public:programmability.roles.${args.role}`];
    role.clear();
    for (const name of new Set(args.actions)) {
      role.set(ccf.jsonCompatibleToBuf(name), new ArrayBuffer(8));
    }
  },
);
