package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"chancery/internal/appbuild"
	"chancery/internal/supervise"
)

// appDir is the directory that a command's argument names: the present one without.
func appDir(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

func newApp(s streams) *cobra.Command {
	return group("app", "Applications", newAppInit(s), newAppBuild(s), newAppTest(s), newAppDev(s), newAppDeploy(s), newAppReplay(s))
}

func newAppBuild(s streams) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Make the bundle of the application in DIR (here): its app.json and src",
		Long: `Writes the bundle, {"metadata": ..., "modules": [...]}, as the governance action
set_js_app takes it. TypeScript, and packages of node_modules, are linked in.`,
		Args: between("", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			bundle, err := appbuild.Build(appDir(args))
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(bundle, "", "  ")
			if err != nil {
				return err
			}
			return writeOut(s, out, append(text, '\n'))
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write to, instead of standard output")
	return c
}

func newAppDeploy(s streams) *cobra.Command {
	var t target
	return asMember(&t, &cobra.Command{
		Use:   "deploy [DIR]",
		Short: "Build an application and propose it to the service (set_js_app)",
		Args:  between("", 0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			bundle, err := appbuild.Build(appDir(args))
			if err != nil {
				return err
			}
			proposal, err := supervise.SetApp(bundle)
			if err != nil {
				return fmt.Errorf("writing the proposal: %w", err)
			}
			return propose(c.Context(), s, &t, sending{}, proposal)
		},
	})
}
