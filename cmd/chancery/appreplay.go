package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"chancery/internal/appbuild"
	"chancery/internal/durable"
	"chancery/internal/replay"
	"chancery/internal/supervise"
	"chancery/ledger"
)

// replayArgs are the arguments of app replay.
type replayArgs struct {
	workspace, ledger, secrets, app, output string
}

func newAppReplay(s streams) *cobra.Command {
	var a replayArgs
	c := &cobra.Command{
		Use:   "replay TXID",
		Short: "Execute a recorded request again, over the state before it",
		Long: `Executes the request that transaction TXID recorded, over the state before it, and shows
the answer, what was printed, and where the writes differ from those in the ledger. With
--app it is the application in a directory that is executed, as you are working on it.

Requests are recorded where the endpoint has "chancery": {"record": true} in app.json. The
record lies in a private table, so a replay takes the ledger files and the ledger secrets;
those of a workspace of chancery up are found there. Exit code 5: the writes differ.`,
		Example: "  chancery app replay 2.15\n  chancery app replay 2.15 --app hello",
		Args:    exactly("TXID"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := ledger.ParseTxID(args[0])
			if err != nil {
				return usagef("%q is no transaction id (VIEW.SEQNO)", args[0])
			}
			r, err := a.run(c, id)
			if err != nil {
				return err
			}
			if err := showReplay(s, a.output, r); err != nil {
				return err
			}
			if !r.Same() {
				return unverified{errors.New("the replay wrote otherwise than the ledger says")}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&a.workspace, "workspace", "workspace", "the workspace of chancery up, for what is not given below")
	f.StringVar(&a.ledger, "ledger", "", "directory of the ledger")
	f.StringVar(&a.secrets, "secrets", "", "file with ledger secrets, as for ledger show")
	f.StringVar(&a.app, "app", "", "directory of the application to execute, instead of the one that was deployed")
	outputFlag(c, &a.output)
	return c
}

func (a *replayArgs) run(c *cobra.Command, id ledger.TxID) (*replay.Result, error) {
	if err := checkOutput(a.output); err != nil {
		return nil, err
	}
	if a.ledger == "" || a.secrets == "" {
		dir, keys, err := supervise.Workspace(a.workspace).Files()
		if err != nil {
			return nil, usagef("--ledger and --secrets are missing, and: %w", err)
		}
		if a.ledger == "" {
			a.ledger = dir
		}
		if a.secrets == "" {
			a.secrets = keys
		}
	}
	secrets, err := readSecrets(a.secrets)
	if err != nil {
		return nil, err
	}
	var bundle *appbuild.Bundle
	if a.app != "" {
		if bundle, err = appbuild.Build(a.app); err != nil {
			return nil, err
		}
	}
	r, err := replay.Run(c.Context(), id, ledger.ReadEntries(durable.OS(), a.ledger, 1), secrets, bundle)
	if errors.Is(err, replay.ErrNotRecorded) {
		return nil, fmt.Errorf("%w: the endpoints whose requests are kept have \"chancery\": {\"record\": true} in app.json", err)
	}
	return r, err
}

func showReplay(s streams, output string, r *replay.Result) error {
	if output == outputJSON {
		return json.NewEncoder(s.out).Encode(replayJSON(r))
	}
	target := r.Record.Path
	if r.Record.Query != "" {
		target += "?" + r.Record.Query
	}
	who := "nobody"
	if c := r.Record.Caller; c != nil {
		who = strings.TrimSpace(c.Policy + " " + c.ID)
	}
	fmt.Fprintf(s.out, "%v  %s %s  by %s  at %s\n", r.ID, r.Record.Method, target, who, r.Record.At.Format(time.RFC3339Nano))
	if r.Endpoint.ReuseKey != "" {
		fmt.Fprintln(s.out, "what the endpoint's interpreter kept from requests before is not there (interpreter_reuse)")
	}
	showAnswer(s, r)
	for _, line := range r.Log {
		fmt.Fprintf(s.out, "printed: %s\n", line)
	}
	if r.Same() {
		_, err := fmt.Fprintln(s.out, "the writes are those in the ledger")
		return err
	}
	if r.Recorded != r.Replayed {
		fmt.Fprintf(s.out, "claims digest\n  ledger: %s\n  replay: %s\n", claim(r.Recorded), claim(r.Replayed))
	}
	for _, d := range r.Differences {
		fmt.Fprintf(s.out, "%s[%s]\n  ledger: %s\n  replay: %s\n", d.Table, printable(d.Key), written(d.Recorded), written(d.Replayed))
	}
	return nil
}

// showAnswer prints the answer of the replay, or why there was none.
func showAnswer(s streams, r *replay.Result) {
	if f := r.Failure; f != nil {
		fmt.Fprintf(s.out, "answer: 500 %s\n", f.Message)
		if x := f.Exception; x != nil {
			indent(s, x.Reason)
			indent(s, x.Trace)
		}
		return
	}
	fmt.Fprintf(s.out, "answer: %d\n", r.Response.Status)
	names := make([]string, 0, len(r.Response.Header))
	for name := range r.Response.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		indent(s, name+": "+r.Response.Header[name])
	}
	switch body := r.Response.Body; {
	case len(body) == 0:
	case utf8.Valid(body) && !bytes.ContainsRune(body, 0):
		indent(s, string(body))
	default:
		indent(s, hex.EncodeToString(body))
	}
}

func claim(d ledger.Digest) string {
	if d == (ledger.Digest{}) {
		return "none"
	}
	return hex.EncodeToString(d[:])
}

func written(w replay.Written) string {
	switch {
	case !w.There:
		return "not written"
	case w.Removed:
		return "removed"
	}
	return printable(w.Value)
}

// replayJSON is a replay for programs; keys and values are base64.
func replayJSON(r *replay.Result) any {
	type side struct {
		Written bool   `json:"written"`
		Removed bool   `json:"removed"`
		Value   []byte `json:"value"`
	}
	type difference struct {
		Table  string `json:"table"`
		Key    []byte `json:"key"`
		Ledger side   `json:"ledger"`
		Replay side   `json:"replay"`
	}
	type answer struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
		Error   string            `json:"error,omitempty"`
		Thrown  string            `json:"thrown,omitempty"`
		Trace   string            `json:"trace,omitempty"`
	}
	out := struct {
		TxID        string          `json:"transaction_id"`
		Request     json.RawMessage `json:"request"`
		Answer      answer          `json:"answer"`
		Printed     []string        `json:"printed"`
		Same        bool            `json:"same"`
		Differences []difference    `json:"differences"`
	}{TxID: r.ID.String(), Printed: r.Log, Same: r.Same(), Differences: []difference{}}
	out.Request, _ = json.Marshal(r.Record) // it came from JSON
	switch {
	case r.Response != nil:
		out.Answer = answer{Status: r.Response.Status, Headers: r.Response.Header, Body: r.Response.Body}
	default:
		out.Answer = answer{Status: 500, Error: r.Failure.Message}
		if x := r.Failure.Exception; x != nil {
			out.Answer.Thrown, out.Answer.Trace = x.Reason, x.Trace
		}
	}
	for _, d := range r.Differences {
		out.Differences = append(out.Differences, difference{
			d.Table, d.Key, side{d.Recorded.There, d.Recorded.Removed, d.Recorded.Value}, side{d.Replayed.There, d.Replayed.Removed, d.Replayed.Value},
		})
	}
	return out
}
