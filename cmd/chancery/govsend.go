package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chancery/client"
)

// now is the clock of what is signed here.
var now = time.Now

// sending is how a member's message goes to the service.
type sending struct{ curl string }

func (h *sending) flags(c *cobra.Command) {
	c.Flags().StringVar(&h.curl, "curl", "", "write the signed message to this file and print the curl command that submits it, instead of submitting it")
}

// send signs a message and submits it, or prints how to. printed says that it did that.
func (t *target) send(ctx context.Context, s streams, how sending, m client.Message) (p *client.Proposal, printed bool, err error) {
	service, cert, key, err := t.signer()
	if err != nil {
		return nil, false, err
	}
	defer service.Close()
	envelope, err := m.Sign(cert, key, now())
	if err != nil {
		return nil, false, err
	}
	if how.curl != "" {
		return nil, true, t.printCurl(s, how.curl, envelope)
	}
	bar := newProgress(s.err, "waiting for the service")
	stop := bar.tick(ctx)
	p, err = service.Send(ctx, envelope)
	stop()
	return p, false, err
}

// printCurl prints the request that submits a signed message.
func (t *target) printCurl(s streams, file string, envelope []byte) error {
	path, err := client.GovPath(envelope)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, envelope, 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "curl --cacert %s -X POST '%s%s' -H 'content-type: application/cose' --data-binary @%s\n", t.serviceCert, t.url, path, file)
	return err
}

func newSend(s streams) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "send FILE",
		Short: "Submit a message that a member has signed",
		Args:  exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			envelope, err := os.ReadFile(args[0])
			if err != nil {
				return fileError(args[0], err)
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			p, err := service.Send(c.Context(), envelope)
			if err != nil {
				return err
			}
			return showState(s, p)
		},
	}
	t.flags(c)
	return c
}

func newSign(s streams) *cobra.Command {
	var prepare, finish bool
	var cert, signature, out, ballot string
	c := &cobra.Command{
		Use:   "sign --prepare proposal FILE | sign --prepare ballot PROPOSAL yes|no | sign --prepare withdrawal PROPOSAL | sign --finish PENDING",
		Short: "Sign a message with a key that is elsewhere: in a token, in a vault, on another machine",
		Long: `In two steps. --prepare writes a pending message: JSON with the digest to be signed
("value", base64) and its algorithm ("alg": ES256, ES384 or ES512). --finish takes that
file and the signature (--signature: DER, r||s, or JSON {"value": base64url} as vaults give
it), checks it against the member's certificate, and writes the message, which "gov send"
or curl submits. Nothing is asked of the service.`,
		Example: `  chancery gov sign --prepare proposal set_user.json --cert member0_cert.pem -o pending.json
  jq -r .value pending.json | base64 -d > digest
  openssl pkeyutl -sign -inkey member0_privk.pem -in digest -out signature
  chancery gov sign --finish pending.json --signature signature -o message.cose
  chancery gov send message.cose`,
		Args: atLeastOne("what to sign"),
		RunE: func(_ *cobra.Command, args []string) error {
			if prepare == finish {
				return usagef("say either --prepare or --finish")
			}
			if finish {
				return finishMessage(s, args, signature, out)
			}
			return prepareMessage(s, args, cert, ballot, out)
		},
	}
	f := c.Flags()
	f.BoolVar(&prepare, "prepare", false, "make a message ready to be signed")
	f.BoolVar(&finish, "finish", false, "put the signature in")
	f.StringVar(&cert, "cert", "", "the member's certificate, PEM (for --prepare)")
	f.StringVar(&ballot, "ballot", "", "a JavaScript file with the ballot (for --prepare ballot)")
	f.StringVar(&signature, "signature", "", "file with the signature (for --finish)")
	f.StringVarP(&out, "output", "o", "", "file to write to, instead of standard output")
	return c
}

func prepareMessage(s streams, args []string, certFile, ballot, out string) error {
	if certFile == "" {
		return usagef("--cert is missing")
	}
	cert, err := readCertificate(certFile)
	if err != nil {
		return err
	}
	m, err := messageOf(args, ballot)
	if err != nil {
		return err
	}
	p, err := m.Prepare(cert, now())
	if err != nil {
		return err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeOut(s, out, append(text, '\n'))
}

// messageOf is the message that the command line describes.
func messageOf(args []string, ballot string) (client.Message, error) {
	switch args[0] {
	case "proposal":
		if err := exactly("proposal", "FILE")(nil, args); err != nil {
			return client.Message{}, err
		}
		text, err := readProposal(args[1])
		return client.Message{Type: "proposal", Payload: text}, err
	case "ballot":
		want := []string{"ballot", "PROPOSAL"}
		if ballot == "" {
			want = append(want, "yes|no")
		}
		if err := exactly(want...)(nil, args); err != nil {
			return client.Message{}, err
		}
		source, err := readBallot(ballot, args[1:])
		if err != nil {
			return client.Message{}, err
		}
		return client.Ballot(args[1], source)
	case "withdrawal":
		if err := exactly("withdrawal", "PROPOSAL")(nil, args); err != nil {
			return client.Message{}, err
		}
		return client.Message{Type: "withdrawal", Proposal: args[1]}, nil
	}
	return client.Message{}, usagef("%q is not signed here; say proposal, ballot or withdrawal", args[0])
}

func finishMessage(s streams, args []string, file, out string) error {
	if err := exactly("PENDING")(nil, args); err != nil {
		return err
	}
	if file == "" {
		return usagef("--signature is missing")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return fileError(args[0], err)
	}
	var p client.PendingMessage
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fileError(file, err)
	}
	var vault struct{ Value string }
	if json.Unmarshal(raw, &vault) == nil && vault.Value != "" {
		if raw, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(vault.Value, "=")); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	message, err := p.Finish(raw)
	if err != nil {
		return unverified{err}
	}
	return writeOut(s, out, message)
}
