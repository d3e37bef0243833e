// The global objects of an application: those of CCF, and ccf.chancery, which CCF does
// not have. Applications that import `ccf` from @microsoft/ccf-app need this file for the
// latter only, as globalThis.ccf.chancery.

/** A map of the key-value store. Keys and values are bytes, compared by content. */
interface KvMap {
  has(key: ArrayBuffer): boolean;
  get(key: ArrayBuffer): ArrayBuffer | undefined;
  /** The seqno of the last transaction that wrote the key; writes of this one do not count. */
  getVersionOfPreviousWrite(key: ArrayBuffer): number | undefined;
  set(key: ArrayBuffer, value: ArrayBuffer): KvMap;
  delete(key: ArrayBuffer): void;
  clear(): void;
  forEach(callback: (value: ArrayBuffer, key: ArrayBuffer, map: KvMap) => void): void;
  readonly size: number;
}

/** Maps by name. "public:..." is readable in the ledger, any other name is encrypted there. */
type KvMaps = Record<string, KvMap>;

interface Receipt {
  /** Base64. */
  signature: string;
  /** PEM. */
  cert: string;
  node_id: string;
  is_signature_transaction: boolean;
  /** The path from the leaf to the signed root; hashes in hex. */
  proof?: { left?: string; right?: string }[];
  leaf_components?: { write_set_digest: string; commit_evidence: string; claims_digest?: string };
  /** Of a signature transaction, in place of the two above. */
  root_hex?: string;
}

/** A committed transaction: what it wrote, and its receipt. */
interface HistoricalState {
  /** "view.seqno" */
  transactionId: string;
  receipt: Receipt;
  /** Only what this transaction wrote. */
  kv: KvMaps;
}

interface CryptoKeyPair {
  /** PEM. */
  privateKey: string;
  /** PEM. */
  publicKey: string;
}

interface SigningAlgorithm {
  name: "RSA-PSS" | "ECDSA" | "EdDSA" | "HMAC";
  hash?: "SHA-256" | "SHA-384" | "SHA-512";
  saltLength?: number;
}

type WrapAlgorithm =
  | { name: "RSA-OAEP"; label?: ArrayBuffer }
  | { name: "AES-KWP" }
  | { name: "RSA-OAEP-AES-KWP"; aesKeySize: number; label?: ArrayBuffer };

/** A JSON Web Key. */
interface Jwk {
  kty: string;
  kid?: string;
  [member: string]: unknown;
}

interface CcfCrypto {
  digest(algorithm: "SHA-256", data: ArrayBuffer): ArrayBuffer;
  generateAesKey(bits: 128 | 192 | 256): ArrayBuffer;
  generateRsaKeyPair(bits: number, exponent?: number): CryptoKeyPair;
  generateEcdsaKeyPair(curve: "secp256r1" | "secp384r1"): CryptoKeyPair;
  generateEddsaKeyPair(curve: "curve25519" | "x25519"): CryptoKeyPair;
  sign(algorithm: SigningAlgorithm, privateKey: string, data: ArrayBuffer): ArrayBuffer;
  /** key is a public key or a certificate, PEM. */
  verifySignature(algorithm: SigningAlgorithm, key: string, signature: ArrayBuffer, data: ArrayBuffer): boolean;
  wrapKey(key: ArrayBuffer, wrappingKey: ArrayBuffer, algorithm: WrapAlgorithm): ArrayBuffer;
  unwrapKey(key: ArrayBuffer, wrappingKey: ArrayBuffer, algorithm: WrapAlgorithm): ArrayBuffer;
  isValidX509CertBundle(pem: string): boolean;
  /** The first certificate of the chain is judged, the others lead to a trusted one. */
  isValidX509CertChain(chain: string, trusted: string): boolean;
  pubPemToJwk(pem: string, kid?: string): Jwk;
  pemToJwk(pem: string, kid?: string): Jwk;
  pubRsaPemToJwk(pem: string, kid?: string): Jwk;
  rsaPemToJwk(pem: string, kid?: string): Jwk;
  pubEddsaPemToJwk(pem: string, kid?: string): Jwk;
  eddsaPemToJwk(pem: string, kid?: string): Jwk;
  pubJwkToPem(jwk: Jwk): string;
  jwkToPem(jwk: Jwk): string;
  pubRsaJwkToPem(jwk: Jwk): string;
  rsaJwkToPem(jwk: Jwk): string;
  pubEddsaJwkToPem(jwk: Jwk): string;
  eddsaJwkToPem(jwk: Jwk): string;
}

/** Which part of a map to walk over, by the bytewise order of keys. */
interface WalkOptions {
  /** The first key. */
  from?: ArrayBuffer;
  /** The key before which the walk ends. */
  to?: ArrayBuffer;
  /** What the keys begin with. */
  prefix?: ArrayBuffer;
  /** From the greatest key to the least. */
  reverse?: boolean;
  /** How many entries at most, from 1 on. */
  limit?: number;
  /** Go on behind this key: the cursor of the answer before. */
  cursor?: ArrayBuffer;
}

/** Chancery's own: walks over a map in the order of its keys. */
interface OrderedKv {
  /** cursor is there when the limit ended the walk. */
  range(map: KvMap, options?: WalkOptions): { entries: { key: ArrayBuffer; value: ArrayBuffer }[]; cursor?: ArrayBuffer };
  keys(map: KvMap, options?: WalkOptions): { keys: ArrayBuffer[]; cursor?: ArrayBuffer };
}

interface Ccf {
  kv: KvMaps;
  strToBuf(text: string): ArrayBuffer;
  bufToStr(bytes: ArrayBuffer): string;
  jsonCompatibleToBuf(value: unknown): ArrayBuffer;
  bufToJsonCompatible(bytes: ArrayBuffer): any;
  /** The id of a user or member with this certificate. */
  pemToId(pem: string): string;
  tcbHexToPolicy(cpuid: string, tcb: string): Record<string, unknown>;
  /** Whether the request is logged; returns what was set before. */
  enableMetricsLogging(on: boolean): boolean;
  /** Without effect: Date shows the host's time always. */
  enableUntrustedDateTime(on: boolean): boolean;
  crypto: CcfCrypto;
  gov: { validateConstitution(source: string): true };
  rpc: {
    /** Whether the writes are kept, whatever the status; otherwise they are with 2xx. */
    setApplyWrites(apply: boolean): void;
    /** 32 bytes that the transaction's receipt will prove. */
    setClaimsDigest(digest: ArrayBuffer): void;
  };
  consensus: {
    getLastCommittedTxId(): { view: number; seqno: number };
    getStatusForTxId(view: number, seqno: number): "Committed" | "Invalid" | "Pending" | "Unknown";
    getViewForSeqno(seqno: number): number | null;
  };
  historical: {
    /** null: not fetched yet, ask again. */
    getStateRange(handle: number, first: number, last: number, secondsUntilExpiry: number): HistoricalState[] | null;
    dropCachedStates(handle: number): boolean;
  };
  /** In endpoints of mode "historical": the transaction of the header x-ms-ccf-transaction-id. */
  historicalState: HistoricalState;
  /** Not in CCF. */
  chancery: { kv: OrderedKv };
}

declare var ccf: Ccf;

declare const snp_attestation: {
  verifySnpAttestation(evidence: ArrayBuffer, endorsements: ArrayBuffer, uvmEndorsements?: ArrayBuffer, endorsedTcb?: string): any;
};

declare const console: {
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
};

/** Who sends a request: which members are there depends on the policy. */
interface Caller {
  policy: string | string[];
  id: string;
  /** user_data or member_data. */
  data: any;
  /** PEM. */
  cert: string;
  jwt: { keyIssuer: string; header: any; payload: any };
  cose: { content: ArrayBuffer };
}

interface Request {
  headers: Record<string, string | undefined>;
  params: Record<string, string>;
  /** Without the question mark, decoded. */
  query: string;
  path: string;
  method: string;
  hostname: string | null;
  route: string;
  url: string;
  body: { text(): string; json(): any; arrayBuffer(): ArrayBuffer };
  caller: Caller | null;
}

interface Response {
  statusCode?: number;
  headers?: Record<string, string>;
  body?: unknown;
}
