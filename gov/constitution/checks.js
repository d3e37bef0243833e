// Checks of arguments. Each throws an Error whose text names the argument and what is
// wrong with it. The names here, like `actions`, `Action` and the functions of
// state.js, are what fragments that add actions may rely on.

// type is a typeof name, "array" or "integer"; a trailing "?" also takes null and undefined.
function checkType(value, type, field) {
  const optional = type[type.length - 1] === "?";
  if (optional && (value === null || value === undefined)) {
    return;
  }
  const wanted = optional ? type.substring(0, type.length - 1) : type;
  switch (wanted) {
    case "array":
      if (!Array.isArray(value)) {
        throw new Error(`${field} must be an array`);
      }
      break;
    case "integer":
      if (!Number.isInteger(value)) {
        throw new Error(`${field} must be an integer`);
      }
      break;
    default:
      if (typeof value !== wanted) {
        throw new Error(
          `${field} must be of type ${wanted} but is ${typeof value}`,
        );
      }
  }
}

function checkEnum(value, allowed, field) {
  if (allowed.indexOf(value) < 0) {
    throw new Error(`${field} must be one of ${allowed}`);
  }
}

// low and high are inclusive; null leaves that side open. undefined passes.
function checkBounds(value, low, high, field) {
  if (low !== null && value < low) {
    throw new Error(`${field} must be greater than ${low}`);
  }
  if (high !== null && value > high) {
    throw new Error(`${field} must be lower than ${high}`);
  }
}

function checkArrayLength(value, min, max, field) {
  checkType(value, "array", field);
  if (min !== null && value.length < min) {
    throw new Error(`${field} must be an array of minimum ${min} elements`);
  }
  if (max !== null && value.length > max) {
    throw new Error(`${field} must be an array of maximum ${max} elements`);
  }
}

function checkNone(args) {
  if (args !== undefined && args !== null) {
    throw new Error(`Proposal does not accept any argument, found "${args}"`);
  }
}

// Ids of members, users and nodes are SHA-256 digests in hex.
const ENTITY_ID_LENGTH = 64;

function checkEntityId(value, field) {
  checkType(value, "string", field);
  if (value.length !== ENTITY_ID_LENGTH) {
    throw new Error(
      `${field} must contain exactly ${ENTITY_ID_LENGTH} characters`,
    );
  }
  if (!/^[0-9a-fA-F]+$/.test(value)) {
    throw new Error(`${field} contains non-hexadecimal character`);
  }
}

function checkX509CertBundle(value, field) {
  if (!ccf.crypto.isValidX509CertBundle(value)) {
    throw new Error(
      `${field} must be a valid X509 certificate (bundle) in PEM format`,
    );
  }
}

// Two hex digits a byte, as an ArrayBuffer.
function hexStrToBuf(text) {
  if (text.length % 2 !== 0) {
    throw new Error("Hex string invalid: length must be multiple of 2");
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const pair = text.substring(2 * i, 2 * i + 2);
    if (!/^[0-9a-fA-F]{2}$/.test(pair)) {
      throw new Error(`Hex string invalid: Non-hex character ${pair}`);
    }
    bytes[i] = parseInt(pair, 16);
  }
  return bytes.buffer;
}

function bufToHexStr(buf) {
  return Array.from(new Uint8Array(buf), (b) =>
    b.toString(16).padStart(2, "0"),
  ).join("");
}

function checkLowerHex(value, bytes, field) {
  checkType(value, "string", field);
  if (value !== value.toLowerCase()) {
    throw new Error(`${field} must be a lowercase hex string: ${value}`);
  }
  if (hexStrToBuf(value).byteLength !== bytes) {
    throw new Error(`${field} must convert to exactly ${bytes} bytes`);
  }
}

function checkValidity(args) {
  checkType(args.valid_from, "string", "valid_from");
  if (args.validity_period_days !== undefined) {
    checkType(args.validity_period_days, "integer", "validity_period_days");
    checkBounds(args.validity_period_days, 1, null, "validity_period_days");
  }
}

// One key of a JWK set: a certificate chain, an RSA key or an EC key.
function checkJwk(jwk, field) {
  checkType(jwk.kid, "string", `${field}.kid`);
  checkType(jwk.kty, "string", `${field}.kty`);
  if (jwk.x5c) {
    checkArrayLength(jwk.x5c, 1, null, `${field}.x5c`);
    jwk.x5c.forEach((der, i) => {
      checkType(der, "string", `${field}.x5c[${i}]`);
      checkX509CertBundle(
        `-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----`,
        `${field}.x5c[${i}]`,
      );
    });
  } else if (jwk.n && jwk.e) {
    checkType(jwk.n, "string", `${field}.n`);
    checkType(jwk.e, "string", `${field}.e`);
  } else if (jwk.x && jwk.y) {
    checkType(jwk.x, "string", `${field}.x`);
    checkType(jwk.y, "string", `${field}.y`);
    checkType(jwk.crv, "string", `${field}.crv`);
  } else {
    throw new Error(
      "JWK must contain either x5c, or n/e for RSA key type, or x/y/crv for EC key type",
    );
  }
}

function checkJwks(value, field) {
  checkType(value, "object", field);
  checkType(value.keys, "array", `${field}.keys`);
  value.keys.forEach((jwk, i) => checkJwk(jwk, `${field}.keys[${i}]`));
}

// Splits a URL as RFC 3986, appendix B, does; parts that are not there are undefined.
function parseUrl(url) {
  const m = /^(?:([^:\/?#]+):)?(?:\/\/([^\/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?/.exec(
    url,
  );
  return { scheme: m[1], authority: m[2], path: m[3], query: m[4], fragment: m[5] };
}
