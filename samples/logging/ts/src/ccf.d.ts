// The part of the `ccf` object that this application uses.

interface KvMap {
  get(key: ArrayBuffer): ArrayBuffer | undefined;
  set(key: ArrayBuffer, value: ArrayBuffer): KvMap;
  delete(key: ArrayBuffer): boolean;
  clear(): void;
  readonly size: number;
}

interface Receipt {
  leaf_components?: { claims_digest?: string };
}

interface HistoricalState {
  transactionId: string;
  receipt: Receipt;
  kv: Record<string, KvMap>;
}

declare const ccf: {
  kv: Record<string, KvMap>;
  strToBuf(text: string): ArrayBuffer;
  bufToStr(bytes: ArrayBuffer): string;
  crypto: { digest(algorithm: "SHA-256", data: ArrayBuffer): ArrayBuffer };
  rpc: { setClaimsDigest(digest: ArrayBuffer): void };
  consensus: { getLastCommittedTxId(): { view: number; seqno: number } };
  historical: {
    getStateRange(handle: number, from: number, to: number, seconds: number): HistoricalState[] | null;
  };
  historicalState: HistoricalState;
};

interface Caller {
  policy: string | string[];
  id: string;
  data: { isAdmin?: boolean } | null | undefined;
  cert: string;
  jwt: { keyIssuer: string; header: unknown; payload: { sub?: string } };
}

interface Request {
  headers: Record<string, string | undefined>;
  params: Record<string, string>;
  query: string;
  path: string;
  body: { text(): string; json(): any };
  caller: Caller | null;
}

interface Response {
  statusCode?: number;
  headers?: Record<string, string>;
  body?: unknown;
}
