package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/appbuild"
	"chancery/internal/supervise"
	"chancery/samples"
)

func newUp(s streams) *cobra.Command {
	var app, workspace string
	var o supervise.Options
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a service here, or resume the one that is here",
		Long: `Makes keys, starts a node (with --nodes, several), opens the service through governance, deploys an
application (the logging sample, unless --app names another) and prints how to use
it. Ctrl-C stops it; the next up on the same workspace resumes it with all its data.

Of several nodes, on 127.0.0.1, 127.0.0.2 and so on, one that dies is retired by
governance and replaced by a fresh one, which joins and is trusted with member0's key.
"chancery node" adds, removes and replaces nodes while it runs.

It is for development: the platform is virtual and protects nothing from the host,
and the node's keys lie in the workspace in the clear.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Workspace = supervise.Workspace(workspace)
			return up(c.Context(), s, app, o)
		},
	}
	c.Flags().StringVar(&app, "app", "", "directory of the application to deploy")
	c.Flags().StringVar(&o.Chanceryd, "node", "", "node program with an application compiled in, in place of chanceryd (no other application is deployed unless --app names it)")
	c.Flags().StringVar(&workspace, "workspace", "workspace", "directory of the service's files")
	c.Flags().IntVar(&o.Port, "port", 8000, "port on 127.0.0.1")
	c.Flags().IntVar(&o.Nodes, "nodes", 1, "number of nodes: three survive the loss of one, five of two")
	c.Flags().DurationVar(&o.ElectionTimeout, "election-timeout", time.Second, "how long the primary may be silent before the others elect another one")
	c.Flags().StringSliceVar(&o.Zones, "zones", nil, "labels of the zones in which the nodes stand, in turn (a,b,c)")
	c.Flags().StringVar(&o.Metrics, "metrics", "", "host:port on which the node shows figures to Prometheus, at /metrics")
	return c
}

// up runs the service. What o does not say yet is filled in.
func up(ctx context.Context, s streams, app string, o supervise.Options) error {
	if o.Port < 1 || o.Port > 65535 {
		return usagef("--port %d is no port", o.Port)
	}
	if o.Nodes < 1 || o.Nodes > supervise.MaxNodes {
		return usagef("--nodes %d is not from 1 to %d", o.Nodes, supervise.MaxNodes)
	}
	if t := o.ElectionTimeout; t != 0 && (t < 100*time.Millisecond || t%time.Millisecond != 0) {
		return usagef("--election-timeout %v is not a number of milliseconds from 100 on", o.ElectionTimeout)
	}
	if o.Metrics != "" {
		if _, _, err := net.SplitHostPort(o.Metrics); err != nil {
			return usagef("--metrics %q is not host:port", o.Metrics)
		}
	}
	var err error
	if o.App, err = upApp(app, o.Chanceryd); err != nil {
		return err
	}
	o.Redeploy = app != ""
	if o.Chanceryd, err = nodeProgram(o.Chanceryd); err != nil {
		return err
	}
	opened := o.Opened
	o.Opened = func(url string) {
		printUsage(s, o.Workspace, url, app == "")
		if opened != nil {
			opened(url)
		}
	}
	o.Say = func(line string) { fmt.Fprintln(s.out, line) }
	o.Beside = keepBackups(o)
	return supervise.Run(ctx, o)
}

// nodeProgram is the path of the node's program: the named one, or the chanceryd that is
// beside this one.
func nodeProgram(named string) (string, error) {
	if named == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("finding chanceryd: %w", err)
		}
		named = filepath.Join(filepath.Dir(self), "chanceryd")
	}
	path, err := filepath.Abs(named)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", named, err)
	}
	return path, nil
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
