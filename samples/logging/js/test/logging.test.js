// Run with `chancery app test samples/logging/js`.

const post = (caller, kind, body) => chancery.call({ method: "POST", path: `/log/${kind}`, caller, body });
const get = (caller, path) => chancery.call({ path, caller });

export function testRecords() {
  const user = chancery.user();
  for (const kind of ["private", "public"]) {
    chancery.equal(post(user, kind, { id: 7, msg: "seven" }).body.json(), true);
    chancery.equal(get(user, `/log/${kind}?id=7`).body.json(), { msg: "seven" });
    chancery.equal(get(user, `/log/${kind}?id=8`).statusCode, 404);
    chancery.equal(post(user, kind, { id: 7, msg: "" }).statusCode, 400);
    chancery.equal(get(user, `/log/${kind}/count`).body.json(), 1);
  }
}

export function testClaim() {
  const { claims } = post(chancery.user(), "public", { id: 1, msg: "claimed", record_claim: true });
  chancery.equal(claims, ccf.crypto.digest("SHA-256", ccf.strToBuf("claimed")));
}

export function testCallers() {
  const path = "/log/private/admin_only";
  const ask = (data) => chancery.call({ method: "POST", path, caller: chancery.user(data), body: { id: 1, msg: "m" } }).statusCode;
  chancery.equal([ask(undefined), ask({ isAdmin: false }), ask({ isAdmin: true })], [403, 403, 200]);
  chancery.equal(get(undefined, "/log/private?id=1").statusCode, 401);
}
