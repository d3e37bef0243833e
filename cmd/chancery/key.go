package main

import (
	"crypto/elliptic"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/durable"
	"chancery/internal/identity"
)

func newKey(s streams) *cobra.Command {
	return group("key", "Keys and certificates", newKeyGen(s))
}

func newKeyGen(s streams) *cobra.Command {
	var dir, curve string
	var encryption, force bool
	var days int
	c := &cobra.Command{
		Use:   "gen NAME",
		Short: "Make a key and a self-signed certificate for a member or a user",
		Long: `Writes NAME_privk.pem and NAME_cert.pem, and with --enc NAME_enc_privk.pem and
NAME_enc_pubk.pem (RSA, for members who hold a recovery share). Private keys are
readable for you alone. Existing files are not replaced without --force.`,
		Example: "  chancery key gen alice\n  chancery key gen member0 --enc --dir keys",
		Args:    exactly("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			curves := map[string]elliptic.Curve{"secp384r1": elliptic.P384(), "secp256r1": elliptic.P256()}
			chosen, ok := curves[curve]
			switch name := args[0]; {
			case !ok:
				return usagef("%q is not a curve; use secp384r1 or secp256r1", curve)
			case days < 1:
				return usagef("--days must be at least 1")
			case name != filepath.Base(name) || name == "." || name == "..":
				return usagef("%q is not a plain name; use --dir for the directory", name)
			default:
				return generate(s, dir, name, chosen, days, encryption, force)
			}
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "where to write the files")
	c.Flags().StringVar(&curve, "curve", "secp384r1", "secp384r1 or secp256r1")
	c.Flags().BoolVar(&encryption, "enc", false, "make an encryption key pair too")
	c.Flags().IntVar(&days, "days", 365, "how long the certificate holds, in days")
	c.Flags().BoolVar(&force, "force", false, "replace existing files")
	return c
}

func generate(s streams, dir, name string, curve elliptic.Curve, days int, encryption, force bool) error {
	if !force {
		for _, suffix := range []string{"_privk.pem", "_cert.pem", "_enc_privk.pem", "_enc_pubk.pem"} {
			if _, err := os.Lstat(filepath.Join(dir, name+suffix)); err == nil {
				return fmt.Errorf("%s exists; use --force to replace it", filepath.Join(dir, name+suffix))
			}
		}
	}
	p, err := identity.NewParticipant(name, curve, time.Now(), days, encryption)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := p.Save(durable.OS(), dir, name); err != nil {
		return err
	}
	fmt.Fprintln(s.out, p.ID)
	return nil
}
