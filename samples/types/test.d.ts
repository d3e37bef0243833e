// The global object of tests, which `chancery app test` runs: every exported function
// whose name begins with "test", in files test/*.test.js and test/*.test.ts, each over a
// fresh service with nothing but the application in it.

interface TestRequest {
  /** GET, unless it is given. */
  method?: string;
  /** Below /app, with the query: "/log?id=1". */
  path: string;
  headers?: Record<string, string>;
  /** Sent as it is if it is text or bytes, as JSON otherwise. */
  body?: unknown;
  /** Who asks; nobody, unless it is given. What a policy would have found, not a credential. */
  caller?: TestCaller;
}

interface TestCaller {
  policy: string | string[];
  [member: string]: unknown;
}

interface TestResponse {
  statusCode: number;
  headers: Record<string, string>;
  body: { text(): string; json(): any; arrayBuffer(): ArrayBuffer };
  /** Whether the writes were kept. */
  applied: boolean;
  /** The digest of setClaimsDigest. */
  claims?: ArrayBuffer;
}

declare const chancery: {
  /** Asks the application, as the service does: errors of its code become status 500. */
  call(request: TestRequest): TestResponse;
  /** A new user of the service, with this user_data; a caller for the policy user_cert. */
  user(data?: unknown): TestCaller & { id: string; cert: string };
  /** A new member; a caller for the policy member_cert. */
  member(data?: unknown): TestCaller & { id: string; cert: string };
  /** Reads a map, beside the application; undefined where there is no such key. */
  get(map: string, key: string | ArrayBuffer): ArrayBuffer | undefined;
  /** Writes a map, beside the application: what governance would have written, for one. */
  set(map: string, key: string | ArrayBuffer, value: string | ArrayBuffer): void;
  /** Fails unless both are the same as JSON; the order of members does not matter. */
  equal(got: unknown, want: unknown, what?: string): void;
};
