package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"chancery/node/config"
)

func newConfig(s streams) *cobra.Command {
	return group("config", "A node's configuration", &cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a node's configuration file",
		Long: `Reads the file as chanceryd does, and opens every file that it names. File names in
it are taken from where you are, as the node takes them from where it is started.`,
		Args: exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error { return checkConfig(c.Context(), s, args[0]) },
	})
}

func checkConfig(ctx context.Context, s streams, file string) error {
	cfg, err := config.Load(ctx, file, 0)
	if err == nil {
		for _, w := range cfg.Warnings {
			fmt.Fprintln(s.out, "note:", w)
		}
		err = cfg.CheckFiles("")
	}
	var invalid *config.InvalidError
	if errors.As(err, &invalid) {
		for _, p := range invalid.Problems {
			fmt.Fprintln(s.out, p)
		}
		return fmt.Errorf("%s has %d problem(s)", file, len(invalid.Problems))
	}
	if err != nil {
		return fileError(file, err)
	}
	fmt.Fprintf(s.out, "%s is valid\n", file)
	return nil
}
