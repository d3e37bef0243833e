// Who may do what. The rules are in tables that only governance writes: a user's data
// lists the roles ({"roles": ["editor"]}, by the actions set_user and set_user_data), and
// a role is the set of its actions (set_role_definition). Members change both by a
// proposal, and the next request is judged by it.

/** The role under which a caller may do something; undefined if there is none. */
export function roleFor(caller, action) {
  const roles = Array.isArray(caller.data?.roles) ? caller.data.roles : [];
  const key = ccf.jsonCompatibleToBuf(action);
  return roles.find((role) => typeof role === "string" && ccf.kv[`public:programmability.roles.${role}`].has(key));
}

export function failure(statusCode, code, message) {
  return { statusCode, body: { error: { code, message } } };
}

/** Wraps a handler: who may not do the action is refused. */
export const needs = (action, handler) => (request) =>
  roleFor(request.caller, action) === undefined
    ? failure(403, "AuthorizationFailed", `None of your roles allows the action ${action}`)
    : handler(request);
