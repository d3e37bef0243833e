package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"chancery/client"
)

func newSimulate(s streams) *cobra.Command {
	var t target
	var output string
	c := &cobra.Command{
		Use:   "simulate FILE|PROPOSAL",
		Short: "Say what a proposal would write if it were accepted now",
		Long: `Has the service validate a proposal, a file or an open one by its id, and apply it to a
transaction that is thrown away. Shown are the writes to public tables: on the same state
the real acceptance makes the same, but for what is drawn at random or made with the
service's key (shares, wrapped secrets, certificates). Any member may ask; votes don't
matter; nothing is written.`,
		Args: exactly("FILE|PROPOSAL"),
		RunE: func(c *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return usagef("--output %q is not known; use text or json", output)
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			var sim *client.Simulation
			if id, err := hex.DecodeString(args[0]); err == nil && len(id) == 32 {
				sim, err = service.SimulateOpen(c.Context(), args[0])
				if err != nil {
					return err
				}
			} else {
				text, err := readProposal(args[0])
				if err != nil {
					return err
				}
				if sim, err = service.Simulate(c.Context(), text); err != nil {
					return err
				}
			}
			if output == "json" {
				return json.NewEncoder(s.out).Encode(sim)
			}
			printSimulation(s, sim)
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return asMember(&t, c)
}

func printSimulation(s streams, sim *client.Simulation) {
	for _, m := range sim.Tables {
		for _, w := range m.Writes {
			fmt.Fprintf(s.out, "%s[%s] = %s\n", m.Name, shown(w.Key, w.KeyHex), shown(w.Value, w.ValueHex))
		}
		for _, w := range m.Removes {
			fmt.Fprintf(s.out, "%s[%s] removed\n", m.Name, shown(w.Key, w.KeyHex))
		}
	}
	if len(sim.Tables) == 0 {
		fmt.Fprintln(s.out, "it would write nothing")
	}
}

// shown is a key or value of a document: quoted text, or hex.
func shown(text, digits *string) string {
	switch {
	case text != nil:
		return fmt.Sprintf("%q", *text)
	case digits != nil:
		return *digits
	}
	return `""`
}
