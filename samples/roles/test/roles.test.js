// Run with `chancery app test samples/roles`.

/** What set_role_definition writes. */
const define = (role, ...actions) => {
  for (const a of actions) chancery.set(`public:programmability.roles.${role}`, JSON.stringify(a), new ArrayBuffer(8));
};

const put = (caller, id, body) => chancery.call({ method: "PUT", path: `/documents/${id}`, caller, body }).statusCode;
const get = (caller, id) => chancery.call({ path: `/documents/${id}`, caller });

export function testRoles() {
  define("reader", "read");
  define("editor", "read", "write");
  define("admin", "read", "write", "delete");
  const [reader, editor, admin] = ["reader", "editor", "admin"].map((role) => chancery.user({ roles: [role] }));
  chancery.equal([put(reader, "a", "x"), put(editor, "b", "one"), put(admin, "a", "two")], [403, 204, 204]);
  chancery.equal(get(reader, "b").body.text(), "one");
  chancery.equal(chancery.call({ path: "/documents", caller: reader }).body.json(), ["a", "b"]);
  const remove = (caller) => chancery.call({ method: "DELETE", path: "/documents/a", caller }).statusCode;
  chancery.equal([remove(editor), remove(admin), remove(admin)], [403, 204, 404]);
}

export function testWithoutRole() {
  define("reader", "read");
  for (const data of [undefined, null, {}, { roles: "reader" }, { roles: [7, null, "ghost"] }]) {
    chancery.equal(get(chancery.user(data), "a").statusCode, 403, JSON.stringify(data));
  }
  const both = chancery.user({ roles: ["ghost", "reader"] });
  chancery.equal(chancery.call({ path: "/allowed/read", caller: both }).body.json(), { allowed: true, role: "reader" });
  chancery.equal(chancery.call({ path: "/allowed/write", caller: both }).body.json(), { allowed: false });
}

/** A role that comes to allow more does so from the next request on. */
export function testRulesChange() {
  const user = chancery.user({ roles: ["reader"] });
  chancery.equal(get(user, "a").statusCode, 403);
  define("reader", "read");
  chancery.equal(get(user, "a").statusCode, 404);
}
