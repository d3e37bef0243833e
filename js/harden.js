// Freezes what scripts can reach of the built-ins, and of the further roots. Returned: a
// function that does so for what is reachable from a list. It runs once for each
// interpreter, before any other script.
(function (roots) {
  const { freeze, defineProperty, getOwnPropertyDescriptor, getPrototypeOf } = Object;
  const { ownKeys, apply } = Reflect;
  const hasOwn = Object.prototype.hasOwnProperty;
  const IntactError = TypeError;

  // Makes inherited properties assignable on the objects that inherit them, which they
  // would not be once the object that has them is frozen.
  const overridable = (o, names) => {
    for (const name of names || ownKeys(o)) {
      const d = getOwnPropertyDescriptor(o, name);
      if (!d || !("value" in d) || !d.configurable) continue;
      const value = d.value;
      defineProperty(o, name, {
        get: () => value,
        set(v) {
          if (this === o) throw new IntactError("Cannot assign to read only property '" + String(name) + "'");
          if (apply(hasOwn, this, [name])) this[name] = v;
          else defineProperty(this, name, { value: v, writable: true, enumerable: true, configurable: true });
        },
        enumerable: d.enumerable,
        configurable: false,
      });
    }
  };
  overridable(Object.prototype);
  overridable(Function.prototype, ["constructor", "bind", "toString", "name", "call", "apply"]);
  overridable(Array.prototype, ["toString", "push", "concat"]);
  for (const E of [Error, AggregateError, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
    overridable(E.prototype, ["constructor", "message", "name", "toString"]);
  }
  overridable(Promise.prototype, ["constructor", "then", "catch", "finally"]);

  // Reachable by syntax only.
  const hidden = [
    getPrototypeOf(function* () {}), getPrototypeOf(function* () {}.prototype), getPrototypeOf(async () => {}),
    getPrototypeOf([][Symbol.iterator]()), getPrototypeOf(""[Symbol.iterator]()),
    getPrototypeOf(new Map()[Symbol.iterator]()), getPrototypeOf(new Set()[Symbol.iterator]()),
    getPrototypeOf("".matchAll(/./g)),
    getOwnPropertyDescriptor((function () { return arguments; })(), "callee"),
  ];
  // Freezes what is reachable from the queue, but for what is in the set except. Returned:
  // the set of what was frozen.
  const freezeFrom = (queue, except) => {
    const seen = new Set();
    while (queue.length > 0) {
      const o = queue.pop();
      if (o === null || (typeof o !== "object" && typeof o !== "function") || seen.has(o) || except.has(o)) continue;
      seen.add(o);
      queue.push(getPrototypeOf(o));
      for (const key of ownKeys(o)) {
        const d = getOwnPropertyDescriptor(o, key);
        queue.push(d.value, d.get, d.set);
      }
    }
    for (const o of seen) freeze(o);
    return seen;
  };
  const builtIns = freezeFrom([globalThis, ...hidden, ...roots], new Set());
  return (objects) => { freezeFrom(objects, builtIns); };
})
