package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"chancery/internal/appbuild"
)

// arguments are an action's, by name.
type arguments map[string]any

// action is a command that proposes one action of the default constitution.
type action struct {
	use, short string
	name       string // of the action
	args       []string
	flags      func(*cobra.Command, arguments) func() error // reads flags into the arguments
	build      func(args []string, to arguments) error
}

// actions are the typed forms of gov propose.
var actions = []action{
	{use: "add-user CERT", short: "Let a user in", name: "set_user", args: []string{"CERT"}, flags: dataFlag("user_data"), build: fileTo("cert")},
	{use: "remove-user ID", short: "Shut a user out", name: "remove_user", args: []string{"ID"}, build: textTo("user_id")},
	{use: "add-member CERT", short: "Take a member in", name: "set_member", args: []string{"CERT"}, flags: memberFlags, build: fileTo("cert")},
	{use: "remove-member ID", short: "Put a member out", name: "remove_member", args: []string{"ID"}, build: textTo("member_id")},
	{use: "set-app DIR", short: "Deploy an application", name: "set_js_app", args: []string{"DIR"}, build: appTo},
	{use: "set-constitution FILE...", short: "Replace the constitution", name: "set_constitution", build: constitutionTo},
	{use: "set-threshold N", short: "Set how many recovery shares recover the service", name: "set_recovery_threshold", args: []string{"N"}, build: numberTo("recovery_threshold")},
	{use: "open SERVICE_CERT", short: "Open the service to users", name: "transition_service_to_open", args: []string{"SERVICE_CERT"}, flags: previousFlag, build: fileTo("next_service_identity")},
	{use: "trust-node ID", short: "Let a node in that has joined", name: "transition_node_to_trusted", args: []string{"ID"}, flags: validityFlags, build: textTo("node_id")},
	{use: "remove-node ID", short: "Retire a node", name: "remove_node", args: []string{"ID"}, build: textTo("node_id")},
	{use: "set-jwt-issuer FILE", short: "Register a token issuer ({\"issuer\": ..., \"jwks\": ...})", name: "set_jwt_issuer", args: []string{"FILE"}, build: jsonTo},
	{use: "remove-jwt-issuer ISSUER", short: "Drop a token issuer with its keys", name: "remove_jwt_issuer", args: []string{"ISSUER"}, build: textTo("issuer")},
	{use: "set-jwt-keys ISSUER JWKS", short: "Replace a token issuer's keys", name: "set_jwt_public_signing_keys", args: []string{"ISSUER", "JWKS"}, build: keysTo},
	{use: "set-ca-bundle NAME FILE", short: "Register CA certificates", name: "set_ca_cert_bundle", args: []string{"NAME", "FILE"}, build: bundleTo},
	{use: "rekey", short: "Change the ledger secret", name: "trigger_ledger_rekey", args: []string{}},
	{use: "refresh-shares", short: "Issue new recovery shares", name: "trigger_recovery_shares_refresh", args: []string{}},
	{use: "snapshot", short: "Take a snapshot at the next signature", name: "trigger_snapshot", args: []string{}},
	{use: "end-chunk", short: "End the ledger chunk at the next signature", name: "trigger_ledger_chunk", args: []string{}},
}

// actionCommands makes a command of each action.
func actionCommands(s streams) []*cobra.Command {
	out := make([]*cobra.Command, len(actions))
	for i := range actions {
		out[i] = actions[i].command(s)
	}
	return out
}

func (a action) command(s streams) *cobra.Command {
	var t target
	var print bool
	var how sending
	c := &cobra.Command{Use: a.use, Short: a.short, Long: a.short + ": proposes the action " + a.name + "."}
	args := arguments{}
	finish := func() error { return nil }
	if a.flags != nil {
		finish = a.flags(c, args)
	}
	c.Args = atLeastOne("FILE")
	if a.args != nil {
		c.Args = exactly(a.args...)
	}
	c.RunE = func(c *cobra.Command, given []string) error {
		if a.build != nil {
			if err := a.build(given, args); err != nil {
				return err
			}
		}
		if err := finish(); err != nil {
			return err
		}
		one := map[string]any{"name": a.name}
		if len(args) > 0 {
			one["args"] = args
		}
		text, err := json.Marshal(map[string]any{"actions": []any{one}})
		if err != nil {
			return err
		}
		if print {
			_, err := fmt.Fprintf(s.out, "%s\n", text)
			return err
		}
		return propose(c.Context(), s, &t, how, text)
	}
	c.Flags().BoolVar(&print, "print", false, "print the proposal instead of submitting it")
	how.flags(c)
	return asMember(&t, c)
}

func textTo(name string) func([]string, arguments) error {
	return func(args []string, to arguments) error {
		to[name] = args[0]
		return nil
	}
}

func numberTo(name string) func([]string, arguments) error {
	return func(args []string, to arguments) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return usagef("%q is no number", args[0])
		}
		to[name] = n
		return nil
	}
}

func fileTo(name string) func([]string, arguments) error {
	return func(args []string, to arguments) error { return readInto(to, name, args[0]) }
}

// readInto makes a file's text an argument.
func readInto(to arguments, name, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fileError(file, err)
	}
	to[name] = string(text)
	return nil
}

func jsonTo(args []string, to arguments) error {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return fileError(args[0], err)
	}
	if err := json.Unmarshal(text, &to); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

func keysTo(args []string, to arguments) error {
	var jwks any
	text, err := os.ReadFile(args[1])
	if err != nil {
		return fileError(args[1], err)
	}
	if err := json.Unmarshal(text, &jwks); err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	to["issuer"], to["jwks"] = args[0], jwks
	return nil
}

func bundleTo(args []string, to arguments) error {
	to["name"] = args[0]
	return readInto(to, "cert_bundle", args[1])
}

func appTo(args []string, to arguments) error {
	bundle, err := appbuild.Build(args[0])
	to["bundle"] = bundle
	return err
}

// constitutionTo joins the files as a node does that is started with them.
func constitutionTo(args []string, to arguments) error {
	parts := make([]string, len(args))
	for i, file := range args {
		text, err := os.ReadFile(file)
		if err != nil {
			return fileError(file, err)
		}
		parts[i] = string(text)
	}
	to["constitution"] = strings.Join(parts, "\n")
	return nil
}

// dataFlag adds --data FILE, JSON.
func dataFlag(name string) func(*cobra.Command, arguments) func() error {
	return func(c *cobra.Command, to arguments) func() error {
		var file string
		c.Flags().StringVar(&file, "data", "", "file with "+name+", JSON")
		return func() error {
			if file == "" {
				return nil
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return fileError(file, err)
			}
			if !json.Valid(text) {
				return fmt.Errorf("%s is no JSON", file)
			}
			to[name] = json.RawMessage(text)
			return nil
		}
	}
}

func memberFlags(c *cobra.Command, to arguments) func() error {
	var encryption, role string
	data := dataFlag("member_data")(c, to)
	c.Flags().StringVar(&encryption, "enc", "", "file with the member's public encryption key, PEM: the member gets a recovery share")
	c.Flags().StringVar(&role, "recovery-role", "", "Participant, Owner or NonParticipant")
	return func() error {
		if role != "" {
			to["recovery_role"] = role
		}
		if encryption != "" {
			if err := readInto(to, "encryption_pub_key", encryption); err != nil {
				return err
			}
		}
		return data()
	}
}

func previousFlag(c *cobra.Command, to arguments) func() error {
	var file string
	c.Flags().StringVar(&file, "previous", "", "after a recovery: the certificate of the service before it, PEM")
	return func() error {
		if file == "" {
			return nil
		}
		return readInto(to, "previous_service_identity", file)
	}
}

func validityFlags(c *cobra.Command, to arguments) func() error {
	var from string
	var days int
	c.Flags().StringVar(&from, "valid-from", "", "first day of the node's certificate (YYMMDDhhmmssZ); now, if it is not given")
	c.Flags().IntVar(&days, "days", 0, "how long it holds; as long as the service allows, if it is not given")
	return func() error {
		if from == "" {
			from = now().UTC().Format("060102150405Z")
		}
		to["valid_from"] = from
		if days > 0 {
			to["validity_period_days"] = days
		}
		return nil
	}
}
