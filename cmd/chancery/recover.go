package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/internal/identity"
)

func newRecover(s streams) *cobra.Command {
	return group("recover", "A service that lost all its nodes", newRecoverRun(s), newRecoverStatus(s), newRecoverShare(s))
}

func newRecoverStatus(s streams) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how far a recovery has come",
		Long: `Says which service identity was found and recovered, through which transaction, and how
many recovery shares are needed. Compare the transaction with receipts in hand: a ledger
that ends before one of them is an older copy.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return recoverStatus(c.Context(), s, &t) },
	}
	t.flags(c)
	return c
}

func recoverStatus(ctx context.Context, s streams, t *target) error {
	service, err := t.connect()
	if err != nil {
		return err
	}
	defer service.Close()
	info, err := service.ServiceInfo(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "service %s, recovered %d time(s)\n", info.Status, info.RecoveryCount)
	var state struct {
		State     string  `json:"state"`
		Target    *uint64 `json:"recovery_target_seqno"`
		Recovered *uint64 `json:"last_recovered_seqno"`
	}
	if err := service.Get(ctx, "/node/state", nil, &state); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "node %s\n", state.State)
	if state.Target != nil {
		r, err := service.RecoveryStatus(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "the earlier service's ledger ends at %s", r.LastTxID)
		if state.Recovered != nil && *state.Recovered > 0 {
			fmt.Fprintf(s.out, "; private state read through %d", *state.Recovered)
		}
		fmt.Fprintln(s.out)
	}
	if info.RecoveryCount > 0 {
		var previous struct {
			Certificate string `json:"previous_service_identity"`
		}
		if err := service.Get(ctx, "/node/service/previous_identity", nil, &previous); err != nil {
			return err
		}
		cert, err := identity.ParseCertificate([]byte(previous.Certificate))
		if err != nil {
			return fmt.Errorf("the previous service's certificate: %w", err)
		}
		id, err := identity.KeyID(cert.PublicKey)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "the earlier service's key is %s\n", id)
	}
	return printShares(ctx, s, service)
}

// printShares says who has submitted a share, and how many are missing.
func printShares(ctx context.Context, s streams, service *client.Client) error {
	r, err := service.RecoveryStatus(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d recovery share(s) are needed\n", r.Threshold)
	if r.ServiceStatus != "WaitingForRecoveryShares" {
		return nil
	}
	members, err := service.Members(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d submitted, %d missing\n", len(r.SubmittedBy), max(r.Threshold-len(r.SubmittedBy), 0))
	for _, m := range members {
		if m.RecoveryRole == "NonParticipant" || m.Status != "Active" {
			continue
		}
		has := "no share yet"
		if slices.Contains(r.SubmittedBy, m.ID) {
			has = "submitted"
		}
		fmt.Fprintf(s.out, "  member %s (%s): %s\n", m.ID, m.RecoveryRole, has)
	}
	return nil
}

func newRecoverShare(s streams) *cobra.Command {
	return group("share", "A member's recovery share", newShareGet(s), newShareSubmit(s))
}

func newShareGet(s streams) *cobra.Command {
	var t target
	var encKey, out string
	c := &cobra.Command{
		Use:   "get",
		Short: "Fetch a member's recovery share, and decrypt it with the member's encryption key",
		Long: `Fetches the member's share, encrypted. With --enc-key it is decrypted and written as it
is submitted (base64); without, it is written as it is, for whoever has the key
(RSA-OAEP with SHA-256).`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			service, cert, _, err := t.signer()
			if err != nil {
				return err
			}
			defer service.Close()
			encrypted, err := service.EncryptedShare(c.Context(), identity.CertID(cert.Raw))
			if err != nil {
				return err
			}
			if encKey == "" {
				return writeSecret(s, out, encrypted)
			}
			share, err := decryptShare(encKey, encrypted)
			if err != nil {
				return err
			}
			defer clear(share)
			return writeSecret(s, out, append([]byte(base64.StdEncoding.EncodeToString(share)), '\n'))
		},
	}
	c.Flags().StringVar(&encKey, "enc-key", "", "the member's private encryption key, PEM")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write to (readable for you alone), instead of standard output")
	return asMember(&t, c)
}

func newShareSubmit(s streams) *cobra.Command {
	var t target
	var encKey, file string
	c := &cobra.Command{
		Use:   "submit",
		Short: "Submit a member's recovery share",
		Long: `Fetches the member's share, decrypts it with --enc-key and submits it, signed; or submits
one that was decrypted elsewhere (--share: base64, as "share get" writes it).`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (encKey == "") == (file == "") {
				return usagef("give either --enc-key or --share")
			}
			return submitShare(c.Context(), s, &t, encKey, file)
		},
	}
	c.Flags().StringVar(&encKey, "enc-key", "", "the member's private encryption key, PEM")
	c.Flags().StringVar(&file, "share", "", "file with the decrypted share, base64")
	return asMember(&t, c)
}

func submitShare(ctx context.Context, s streams, t *target, encKey, file string) error {
	service, cert, key, err := t.signer()
	if err != nil {
		return err
	}
	defer service.Close()
	m, err := service.Member(cert, key)
	if err != nil {
		return err
	}
	var share []byte
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return fileError(file, err)
		}
		if share, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text))); err != nil {
			return fmt.Errorf("%s is no base64", file)
		}
	} else {
		encrypted, err := service.EncryptedShare(ctx, m.ID())
		if err != nil {
			return err
		}
		if share, err = decryptShare(encKey, encrypted); err != nil {
			return err
		}
	}
	defer clear(share)
	r, err := m.SubmitShare(ctx, share)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, r.Message)
	return nil
}

func decryptShare(keyFile string, encrypted []byte) ([]byte, error) {
	key, err := identity.ReadRSAKey(durable.OS(), keyFile)
	if err != nil {
		return nil, fileError(keyFile, err)
	}
	return client.DecryptShare(key, encrypted)
}

// writeSecret writes to a file that nobody else can read, or to standard output.
func writeSecret(s streams, file string, data []byte) error {
	if file == "" {
		_, err := s.out.Write(data)
		return err
	}
	return durable.WriteFileAtomic(durable.OS(), file, data, 0o600)
}
