package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger"
)

func newSnapshot(s streams) *cobra.Command {
	return group("snapshot", "Snapshots of the service's state", newSnapshotProve(s), newSnapshotVerify(s))
}

func newSnapshotProve(s streams) *cobra.Command {
	var dir, secrets, out string
	c := &cobra.Command{
		Use:   "prove FILE TABLE KEY --ledger DIR",
		Short: "Prove the value of one key at a snapshot",
		Long: `Writes a proof, as JSON, that a key had its value in the state that a snapshot is of.
Whoever has the service's certificate can check it offline with snapshot verify, without
the snapshot and without the ledger. The proof holds the key, its value and hashes; of
other keys it tells nothing.

The ledger directory must hold the transaction that committed to the snapshot, the second
number in the file's name. A private table takes --secrets. KEY is text, or hex after 0x.`,
		Example: "  chancery snapshot prove snapshots/snapshot_19_20.committed public:records 0x32 --ledger ledger > proof.json",
		Args:    exactly("FILE", "TABLE", "KEY"),
		RunE: func(_ *cobra.Command, args []string) error {
			if dir == "" {
				return usagef("--ledger is missing")
			}
			key, err := parseKey(args[2])
			if err != nil {
				return err
			}
			proof, err := proveKey(args[0], dir, secrets, args[1], key)
			if err != nil {
				return err
			}
			text, err := json.Marshal(proof)
			if err != nil {
				return fmt.Errorf("encoding the proof: %w", err)
			}
			return writeOut(s, out, append(text, '\n'))
		},
	}
	c.Flags().StringVar(&dir, "ledger", "", "the ledger directory")
	c.Flags().StringVar(&secrets, "secrets", "", "file with ledger secrets, as for ledger show")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write to, instead of standard output")
	return c
}

// proveKey reads the snapshot and the evidence in the ledger, and makes the proof.
func proveKey(file, dir, secretsFile, table string, key []byte) (*ledger.SnapshotProof, error) {
	snapshot, name, err := readSnapshot(file)
	if err != nil {
		return nil, err
	}
	var secret *ledger.Secret
	if !writeset.IsPublic(table) {
		if secretsFile == "" {
			return nil, usagef("table %s is private: --secrets is missing", table)
		}
		secrets, err := readSecrets(secretsFile)
		if err != nil {
			return nil, err
		}
		if secret, err = secrets.At(snapshot.Seqno); err != nil {
			return nil, err
		}
		if err := snapshot.Open(secret); err != nil {
			return nil, err
		}
	}
	for e, err := range ledger.ReadEntries(durable.OS(), dir, name.Evidence) {
		if errors.Is(err, ledger.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		return ledger.ProveKey(snapshot, e, secret, table, key)
	}
	return nil, fmt.Errorf("the ledger %s does not hold seqno %d, which committed to the snapshot", dir, name.Evidence)
}

// readSnapshot reads a snapshot, whose name says where its evidence is.
func readSnapshot(file string) (*ledger.Snapshot, ledger.SnapshotName, error) {
	name, ok := ledger.ParseSnapshotName(filepath.Base(file))
	if !ok {
		return nil, name, fmt.Errorf("%s: a snapshot is named snapshot_SEQNO_EVIDENCE.committed", file)
	}
	s, err := ledger.ReadSnapshot(durable.OS(), ledger.SnapshotFile{Path: file, SnapshotName: name})
	if errors.Is(err, ledger.ErrSnapshot) {
		err = unverified{err}
	}
	return s, name, err
}

func newSnapshotVerify(s streams) *cobra.Command {
	var service string
	c := &cobra.Command{
		Use:   "verify FILE --service-cert PEM",
		Short: "Check a snapshot, or a proof that snapshot prove made, offline",
		Long: `Checks that the service of the certificate committed to a snapshot, by the receipt at
the snapshot's end, or that a proof of a key leads to what it committed to. No network, no
clock, no node. Exit code 5: it does not hold.`,
		Example: "  chancery snapshot verify proof.json --service-cert service_cert.pem",
		Args:    exactly("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if service == "" {
				return usagef("--service-cert is missing")
			}
			cert, err := readCertificate(service)
			if err != nil {
				return err
			}
			if _, ok := ledger.ParseSnapshotName(filepath.Base(args[0])); ok {
				return verifySnapshot(s, args[0], cert)
			}
			return verifyProof(s, args[0], cert)
		},
	}
	c.Flags().StringVar(&service, "service-cert", "", "the service's certificate, PEM")
	return c
}

func verifySnapshot(s streams, file string, service *x509.Certificate) error {
	snapshot, _, err := readSnapshot(file)
	if err != nil {
		return err
	}
	id, err := snapshot.VerifyReceipt(service)
	if err != nil {
		return unverified{err}
	}
	keys := 0
	for _, m := range snapshot.Public {
		keys += len(m.Entries)
	}
	fmt.Fprintf(s.out, "state of transaction %v: %d public tables with %d keys\n", snapshot.ID(), len(snapshot.Public), keys)
	fmt.Fprintf(s.out, "committed to by transaction %v, SHA-256 %x\n", id, snapshot.Digest())
	fmt.Fprintln(s.out, "the snapshot is good")
	return nil
}

func verifyProof(s streams, file string, service *x509.Certificate) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fileError(file, err)
	}
	var proof ledger.SnapshotProof
	if err := json.Unmarshal(text, &proof); err != nil {
		return unverified{fmt.Errorf("%s is neither a snapshot by its name nor a proof: %w", file, err)}
	}
	found, err := proof.Verify(service)
	if err != nil {
		return unverified{err}
	}
	fmt.Fprintf(s.out, "%s[%s] = %s, written at seqno %d\n", proof.Map, printable(proof.Key), printable(proof.Value), proof.Version)
	fmt.Fprintf(s.out, "in the state at seqno %d, committed to by transaction %v\n", found.Snapshot, found.Evidence)
	fmt.Fprintln(s.out, "the proof is good")
	return nil
}
