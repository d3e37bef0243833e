// Who is asking: endpoints whose answer depends on the caller.

import { privateRecords, readEntry, store } from "./records.js";
import { failure } from "./request.js";

/** Stores a record with the caller's name before it. */
export function postPrefixed(request) {
  const { entry, refused } = readEntry(request);
  if (refused) return refused;
  const { caller } = request;
  const name = caller.policy === "jwt" ? caller.jwt.payload.sub : caller.id;
  return store(request, privateRecords, entry.id, `${name}: ${entry.msg}`);
}

/** Stores a record for users whose data says {"isAdmin": true}. */
export function postAdminOnly(request) {
  const { data } = request.caller;
  if (data === null || data === undefined || data.isAdmin !== true) {
    return failure(403, "AuthorizationFailed", "Only admins may access this endpoint.");
  }
  const { entry, refused } = readEntry(request);
  return refused || store(request, privateRecords, entry.id, entry.msg);
}

const json = (value) => JSON.stringify(value === undefined ? null : value);

/** Describes a caller in lines of text, by the policy that let it in. */
function describe(caller) {
  if (Array.isArray(caller.policy)) {
    const parts = caller.policy.map((policy) => describe(caller[policy]));
    return `Conjoined auth policy: ${caller.policy.join("+")}\n${parts.join("\n")}`;
  }
  switch (caller.policy) {
    case "no_auth":
      return "Unauthenticated";
    case "user_cert":
      return `User TLS cert\nThe caller is a user with ID: ${caller.id}\nThe caller's user data is: ${json(caller.data)}\nThe caller's cert is:\n${caller.cert}`;
    case "member_cert":
      return `Member TLS cert\nThe caller is a member with ID: ${caller.id}\nThe caller's member data is: ${json(caller.data)}\nThe caller's cert is:\n${caller.cert}`;
    case "any_cert":
      return `Any TLS cert\nThe caller's cert is:\n${caller.cert}`;
    case "jwt":
      return `JWT\nThe caller is identified by a JWT issued by: ${caller.jwt.keyIssuer}\nThe JWT header is:\n${json(caller.jwt.header)}\nThe JWT payload is:\n${json(caller.jwt.payload)}`;
    case "user_cose_sign1":
      return `User COSE Sign1\nThe caller is identified by a COSE Sign1 signed by kid: ${caller.id}\nThe caller is identified by a COSE Sign1 with content of size: ${caller.cose.content.byteLength}`;
  }
  return `Unknown policy: ${caller.policy}`;
}

export function multiAuth(request) {
  return {
    body: request.caller === null ? "Unauthenticated" : describe(request.caller),
  };
}

/** Lets in whoever sends a name and an age in headers of its own. */
export function customAuth(request) {
  const name = request.headers["x-custom-auth-name"];
  const age = request.headers["x-custom-auth-age"];
  const explode = request.headers["x-custom-auth-explode"];
  const refuse = (message) => failure(401, "InvalidAuthenticationInfo", message);
  if (explode !== undefined) throw new Error(explode);
  if (name === undefined) return refuse("Missing required header x-custom-auth-name");
  if (name === "") return refuse("Name must not be empty");
  if (age === undefined) return refuse("Missing required header x-custom-auth-age");
  if (!/^[0-9]+$/.test(age)) return refuse(`Unable to parse age header as a number: ${age}`);
  if (Number(age) < 16) return refuse("Caller age must be at least 16");
  return { body: { name, age: Number(age), description: `Your name is ${name} and you are ${age}` } };
}
