package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chancery/internal/appbuild"
	"chancery/internal/supervise"
	"chancery/samples"
)

func newUp(s streams) *cobra.Command {
	var app, workspace, node string
	var port int
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a one-node service here, or resume the one that is here",
		Long: `Makes keys, starts a node, opens the service through governance, deploys an
application (the logging sample, unless --app names another) and prints how to use
it. Ctrl-C stops it; the next up on the same workspace resumes it with all its data.

It is for development: the platform is virtual and protects nothing from the host,
and the node's keys lie in the workspace in the clear.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return up(c.Context(), s, app, workspace, node, port) },
	}
	c.Flags().StringVar(&app, "app", "", "directory of the application to deploy")
	c.Flags().StringVar(&node, "node", "", "node program with an application compiled in, in place of chanceryd (no other application is deployed unless --app names it)")
	c.Flags().StringVar(&workspace, "workspace", "workspace", "directory of the service's files")
	c.Flags().IntVar(&port, "port", 8000, "port on 127.0.0.1")
	return c
}

func up(ctx context.Context, s streams, app, workspace, node string, port int) error {
	if port < 1 || port > 65535 {
		return usagef("--port %d is no port", port)
	}
	bundle, err := upApp(app, node)
	if err != nil {
		return err
	}
	if node == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding chanceryd: %w", err)
		}
		node = filepath.Join(filepath.Dir(self), "chanceryd")
	}
	if node, err = filepath.Abs(node); err != nil {
		return fmt.Errorf("finding %s: %w", node, err)
	}
	w := supervise.Workspace(workspace)
	return supervise.Run(ctx, supervise.Options{
		Workspace: w, Chanceryd: node, Port: port, App: bundle, Redeploy: app != "",
		Opened: func(url string) { printUsage(s, w, url, app == "") },
	})
}

// upApp is the application to deploy: the one that is named, none where one is
// compiled in, the logging sample otherwise.
func upApp(app, node string) (*appbuild.Bundle, error) {
	switch {
	case app != "":
		return appbuild.Build(app)
	case node != "":
		return nil, nil
	}
	return appbuild.BuildFS(samples.Logging())
}

// printUsage prints what works now, ready to be pasted.
func printUsage(s streams, w supervise.Workspace, url string, logging bool) {
	fmt.Fprintf(s.out, "The service is open at %s (virtual platform: for development only).\n", url)
	curl := fmt.Sprintf("curl --cacert %s --cert %s --key %s", w.Common("service_cert.pem"), w.Common("user0_cert.pem"), w.Common("user0_privk.pem"))
	if logging {
		fmt.Fprintf(s.out, `
  Write a record, and see its transaction id in the header x-ms-ccf-transaction-id:
    %[1]s -i %[2]s/app/log/private -H 'content-type: application/json' -d '{"id": 1, "msg": "hello"}'
  Read it:
    %[1]s '%[2]s/app/log/private?id=1'
`, curl, url)
	}
	fmt.Fprintf(s.out, `
  Status and receipt of transaction 2.10:
    %[1]s '%[2]s/app/tx?transaction_id=2.10'
    %[1]s '%[2]s/app/receipt?transaction_id=2.10' -o receipt.json
    chancery receipt verify receipt.json --service-cert %[3]s

Ctrl-C stops it; the same command resumes it.
`, curl, url, w.Common("service_cert.pem"))
}
