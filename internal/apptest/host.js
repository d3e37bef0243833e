// What a test calls, over the functions of the host.
(function (host) {
  const hex = (b) => [...new Uint8Array(b)].map((n) => n.toString(16).padStart(2, "0")).join("");
  const sorted = (key, v) => {
    if (v instanceof ArrayBuffer) return { bytes: hex(v) };
    if (ArrayBuffer.isView(v)) return { bytes: hex(v.buffer.slice(v.byteOffset, v.byteOffset + v.byteLength)) };
    if (v === null || typeof v !== "object" || Array.isArray(v)) return v;
    return Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)));
  };
  const show = (v) => JSON.stringify(v, sorted);
  const bytes = (v) => (typeof v === "string" ? ccf.strToBuf(v) : v);
  const account = (policy) => (data) => {
    const { id, cert } = host.account(policy, data === undefined ? "" : JSON.stringify(data));
    return { policy, id, data: data === undefined ? null : data, cert };
  };
  globalThis.chancery = {
    call({ method = "GET", path, headers = {}, body, caller }) {
      headers = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), String(v)]));
      if (ArrayBuffer.isView(body)) body = body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength);
      if (body !== undefined && typeof body !== "string" && !(body instanceof ArrayBuffer)) {
        body = JSON.stringify(body);
        headers = { "content-type": "application/json", ...headers };
      }
      const r = host.call(method, path, headers, body === undefined ? new ArrayBuffer(0) : bytes(body), caller ? JSON.stringify(caller) : "");
      return {
        statusCode: r.status,
        headers: r.headers,
        applied: r.applied,
        claims: r.claims,
        body: { text: () => ccf.bufToStr(r.body), json: () => JSON.parse(ccf.bufToStr(r.body)), arrayBuffer: () => r.body },
      };
    },
    user: account("user_cert"),
    member: account("member_cert"),
    get: (map, key) => host.get(map, bytes(key)),
    set: (map, key, value) => host.set(map, bytes(key), bytes(value)),
    equal(got, want, what) {
      if (show(got) !== show(want)) throw new Error(`${what === undefined ? "" : what + ": "}got ${show(got)}, want ${show(want)}`);
    },
  };
})
