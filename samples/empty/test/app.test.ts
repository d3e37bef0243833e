// Run with `chancery app test`.

export function testGreetsAndCounts() {
  chancery.equal(chancery.call({ path: "/hello/ann" }).body.json(), { greeting: "Hello, ann", count: 0 });
  chancery.call({ method: "POST", path: "/hello/ann" });
  chancery.equal(chancery.call({ path: "/hello/ann" }).body.json().count, 1);
  chancery.equal(chancery.call({ path: "/hello/bob" }).body.json().count, 0);
}
