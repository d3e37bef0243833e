// Run with `chancery app test samples/banking`.

function setUp() {
  const [ann, bob, bank] = [chancery.user(), chancery.user(), chancery.member()];
  for (const [who, name] of [[ann, "current"], [ann, "savings"], [bob, "current"]]) {
    chancery.equal(chancery.call({ method: "PUT", path: `/account/${who.id}/${name}`, caller: bank }).statusCode, 204);
  }
  const paidIn = chancery.call({ method: "POST", path: `/deposit/${ann.id}/current`, caller: bank, body: { value: 100 } });
  chancery.equal(paidIn.statusCode, 204);
  return { ann, bob, bank };
}

const balance = (caller, account) => chancery.call({ path: `/balance/${account}`, caller }).body.json().balance;

function pay(caller, value, to, account = "current") {
  const body = { value, user_id_to: to, account_name_to: account };
  return chancery.call({ method: "POST", path: "/transfer/current", caller, body });
}

export function testTransfer() {
  const { ann, bob } = setUp();
  const paid = pay(ann, 30, bob.id);
  chancery.equal([paid.statusCode, paid.claims.byteLength], [204, 32]);
  chancery.equal([balance(ann, "current"), balance(bob, "current")], [70, 30]);
  chancery.equal(pay(bob, 31, ann.id).body.json().error.message, "The balance is too low");
  chancery.equal(pay(ann, 70, ann.id, "savings").statusCode, 204);
  chancery.equal([balance(ann, "current"), balance(ann, "savings")], [0, 70]);
}

export function testRefusals() {
  const { ann, bob, bank } = setUp();
  for (const value of [0, -1, 1.5, "1", null, 2 ** 53]) chancery.equal(pay(ann, value, bob.id).statusCode, 400, `value ${value}`);
  chancery.equal(pay(ann, 1, "nobody").statusCode, 404);
  chancery.equal(pay(ann, 1, ann.id).statusCode, 400);
  chancery.equal(pay(ann, 1, 7).statusCode, 400);
  chancery.equal(chancery.call({ method: "POST", path: "/transfer/current", caller: ann, body: "{" }).statusCode, 400);
  chancery.equal(chancery.call({ method: "PUT", path: "/account/nobody/current", caller: bank }).statusCode, 404);
  chancery.equal(chancery.call({ method: "PUT", path: `/account/${ann.id}/a%2Fb`, caller: bank }).statusCode, 400);
  chancery.equal(chancery.call({ method: "POST", path: `/deposit/${ann.id}/current`, caller: bank, body: { value: 2 ** 53 - 1 } }).statusCode, 400);
  chancery.equal(chancery.call({ path: "/balance/other", caller: ann }).statusCode, 404);
  chancery.equal(chancery.call({ path: "/balance/current", caller: bank }).statusCode, 401);
  chancery.equal([balance(ann, "current"), balance(bob, "current")], [100, 0]);
}

export function testStatement() {
  const { ann, bob } = setUp();
  for (let i = 1; i <= 12; i++) pay(ann, i, bob.id);
  const page = (query) => chancery.call({ path: `/statement/current${query}`, caller: ann }).body.json();
  const first = page("?limit=5");
  chancery.equal(first.movements.map((m) => m.number), [13, 12, 11, 10, 9]);
  chancery.equal(first.movements[0], { number: 13, kind: "paid", value: -12, other: { user: bob.id, account: "current" }, balance: 22 });
  chancery.equal(page(`?limit=5&before=${first.before}`).movements.map((m) => m.number), [8, 7, 6, 5, 4]);
  const last = page("?limit=5&before=4");
  chancery.equal([last.movements.map((m) => m.number), last.before], [[3, 2, 1], undefined]);
  chancery.equal(last.movements[2], { number: 1, kind: "deposit", value: 100, balance: 100 });
  chancery.equal(chancery.call({ path: "/statement/current?limit=0", caller: ann }).statusCode, 400);
  chancery.equal(chancery.call({ path: "/statement/current?before=x", caller: ann }).statusCode, 400);
}
