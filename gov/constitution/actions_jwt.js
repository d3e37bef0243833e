// Certificates to trust in outgoing TLS, token issuers and their keys.

define(
  "set_ca_cert_bundle",
  (args) => {
    checkType(args.name, "string", "name");
    checkX509CertBundle(args.cert_bundle, "cert_bundle");
  },
  (args) =>
    writeJson(
      "public:ccf.gov.tls.ca_cert_bundles",
      ccf.strToBuf(args.name),
      args.cert_bundle,
    ),
);

define(
  "remove_ca_cert_bundle",
  (args) => checkType(args.name, "string", "name"),
  (args) =>
    ccf.kv["public:ccf.gov.tls.ca_cert_bundles"].delete(
      ccf.strToBuf(args.name),
    ),
);

// A node fetches the keys of such an issuer by itself, over TLS pinned to the bundle.
function checkAutoRefresh(args) {
  if (!args.ca_cert_bundle_name) {
    throw new Error(
      "ca_cert_bundle_name is missing but required if auto_refresh is true",
    );
  }
  const url = parseUrl(args.issuer);
  if (url.scheme !== "https") {
    throw new Error(
      "issuer must be a URL starting with https:// if auto_refresh is true",
    );
  }
  if (url.query || url.fragment) {
    throw new Error(
      "issuer must be a URL without query/fragment if auto_refresh is true",
    );
  }
}

define(
  "set_jwt_issuer",
  (args) => {
    checkType(args.issuer, "string", "issuer");
    checkType(args.auto_refresh, "boolean?", "auto_refresh");
    checkType(args.ca_cert_bundle_name, "string?", "ca_cert_bundle_name");
    checkType(args.jwks, "object?", "jwks");
    if (args.jwks) {
      checkJwks(args.jwks, "jwks");
    }
    if (args.auto_refresh) {
      checkAutoRefresh(args);
    }
  },
  (args) => {
    const bundle = args.ca_cert_bundle_name;
    if (
      args.auto_refresh &&
      !ccf.kv["public:ccf.gov.tls.ca_cert_bundles"].has(ccf.strToBuf(bundle))
    ) {
      throw new Error(`No CA cert bundle found with name '${bundle}'`);
    }
    const { jwks, ...metadata } = args;
    if (jwks) {
      ccf.setJwtPublicSigningKeys(args.issuer, metadata, jwks);
    }
    writeJson(
      "public:ccf.gov.jwt.issuers",
      ccf.strToBuf(args.issuer),
      metadata,
    );
  },
);

define(
  "set_jwt_public_signing_keys",
  (args) => {
    checkType(args.issuer, "string", "issuer");
    checkJwks(args.jwks, "jwks");
  },
  (args) => {
    const metadata = readJson(
      "public:ccf.gov.jwt.issuers",
      ccf.strToBuf(args.issuer),
    );
    if (metadata === undefined) {
      throw new Error(`issuer ${args.issuer} not found`);
    }
    ccf.setJwtPublicSigningKeys(args.issuer, metadata, args.jwks);
  },
);

define(
  "remove_jwt_issuer",
  (args) => checkType(args.issuer, "string", "issuer"),
  (args) => {
    const issuers = ccf.kv["public:ccf.gov.jwt.issuers"];
    const key = ccf.strToBuf(args.issuer);
    if (issuers.has(key)) {
      issuers.delete(key);
      ccf.removeJwtPublicSigningKeys(args.issuer);
    }
  },
);

// Services begun before 6.x hold keys in tables that nothing reads any more.
define(
  "cleanup_legacy_jwt_records",
  (args) =>
    checkType(
      args.ensure_new_records_exist,
      "boolean?",
      "ensure_new_records_exist",
    ),
  (args) => {
    if (
      args.ensure_new_records_exist &&
      ccf.kv["public:ccf.gov.jwt.public_signing_keys_metadata_v2"].size === 0
    ) {
      throw new Error("No new JWT public signing keys records found");
    }
    for (const table of [
      "public:ccf.gov.jwt.public_signing_key",
      "public:ccf.gov.jwt.public_signing_keys",
      "public:ccf.gov.jwt.public_signing_keys_metadata",
      "public:ccf.gov.jwt.public_signing_key_issuer",
    ]) {
      ccf.kv[table].clear();
    }
  },
);
