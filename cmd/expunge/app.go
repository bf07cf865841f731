package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// app is one call of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	ctx            context.Context // nil: execute listens for signals itself

	state, rack, socket, json, logLevel string
	code                                int
	course                              *course
	pins                                pins
	keys                                unlockFlags

	testOnlyWaiting func()        // each time that an agent was found that starts or stops
	testOnlyCloses  time.Duration // in place of closesWithin
	testOnlyWaits   time.Duration // in place of remoteWaits
}

// answer is what a verb has to say: data for --json and the same for people.
type answer struct {
	items      any // a list, or
	result     any // one thing
	notReached any // what a list of drives does not have
	text       func(w io.Writer) error
	// outcomes are those of drives, a line each: they are said on standard error where nobody takes the rest.
	outcomes []string
}

// document is what --json prints, also on error.
type document struct {
	Schema     string          `json:"schema"`
	ExitStatus int             `json:"exit_status"`
	Items      any             `json:"items,omitempty"`
	NotReached any             `json:"not_reached,omitempty"`
	Result     any             `json:"result,omitempty"`
	Errors     []documentError `json:"errors"`
}

type documentError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// execute runs one command line and returns its exit code.
func (a *app) execute(args []string) int {
	root := a.command()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	a.course = &course{}
	if a.ctx == nil {
		ctx, done := a.signals()
		defer done()
		a.ctx = ctx
	}
	err := root.ExecuteContext(a.ctx)
	if err != nil {
		// Only cobra's own errors come here: those of verbs were printed.
		a.json = jsonFlag(args)
		found, _, e := root.Find(args)
		if e != nil {
			found = root
		}
		a.finish("usage", answer{}, misused(found, err))
	}
	return a.code
}

// jsonFlag finds --json in a command line that could not be parsed.
func jsonFlag(args []string) string {
	for _, arg := range args {
		switch {
		case arg == "--":
			return ""
		case arg == "--json":
			return "document"
		case strings.HasPrefix(arg, "--json="):
			return strings.TrimPrefix(arg, "--json=")
		}
	}
	return ""
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "expunge",
		Short: "sanitize drives, prove it, and sign a certificate of destruction",
		Long: "expunge finds the drives of this machine, sanitizes them in the sense of NIST SP 800-88r2 and IEEE 2883-2022,\n" +
			"proves it, and signs a certificate that a stranger can check offline.\n\nexit status:\n" + exitTable,
		Example: "  expunge list\n  expunge plan SERIAL --method clear -o plan.json\n  expunge run --plan plan.json --confirm DIGEST\n" +
			"  expunge verify certificate.json --trust host.pub",
		SilenceUsage: true, SilenceErrors: true, Version: version(),
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: false},
		Args:              cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.state, "state", "", "state `DIR` (default /var/lib/expunge; without root $XDG_STATE_HOME/expunge; for a rack DIR/agent)")
	flags.StringVar(&a.rack, "rack", "", "use the virtual host in `DIR` in place of this machine")
	flags.StringVar(&a.socket, "socket", "", "ask the running agent that listens at `PATH` (default: the one that has the state)")
	flags.StringVar(&a.json, "json", "", "print one JSON document: --json; or --json=stream, one object per line (with the =)")
	flags.Lookup("json").NoOptDefVal = "document"
	flags.StringVar(&a.logLevel, "log-level", "off", "log for operators on standard error: trace, debug, info, warn, error, off")
	a.unlockFlags(flags)
	root.AddCommand(
		a.listCommand(), a.showCommand(), a.locateCommand(), a.planCommand(), a.policyCommand(), a.runCommand(), a.jobsCommand(), a.watchCommand(), a.recoverCommand(), a.approveCommand(), a.haltCommand(), a.healthCommand(), a.serveCommand(), a.certificateCommand(),
		a.validateCommand(), a.destroyCommand(), a.verifyCommand(), a.auditCommand(), a.logCommand(), a.keyCommand(), a.trustCommand(), a.rackCommand(), a.demoCommand(), a.doctorCommand(), a.versionCommand(), a.manCommand(),
	)
	return root
}

// verb makes a cobra function of one that answers. Whatever it returns is printed here, once.
func (a *app) verb(name string, do func(ctx context.Context, args []string) (answer, error)) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		a.course.mu.Lock()
		a.course.verb = name
		a.course.mu.Unlock()
		var out answer
		err := a.checkGlobals()
		if err == nil {
			out, err = do(c.Context(), args)
		}
		a.finish(name, out, err)
		return nil
	}
}

// acts is verb for one that changes files or drives by itself: from when it begins, that nothing was done is not said any more.
func (a *app) acts(name string, do func(ctx context.Context, args []string) (answer, error)) func(*cobra.Command, []string) error {
	return a.verb(name, func(ctx context.Context, args []string) (answer, error) {
		if err := a.course.begins(ctx, anything, "look before it is asked for again"); err != nil {
			return answer{}, err
		}
		return do(ctx, args)
	})
}

func (a *app) checkGlobals() error {
	switch a.json {
	case "", "document", "stream":
	default:
		return usage("--json or --json=stream", fmt.Errorf("--json=%s is not known", a.json))
	}
	if hclog.LevelFromString(a.logLevel) == hclog.NoLevel {
		return usage("trace, debug, info, warn, error or off", fmt.Errorf("--log-level %s is not known", a.logLevel))
	}
	return nil
}

// finish prints answer and problem and sets the exit code, unless a signal ends the process meanwhile.
func (a *app) finish(name string, out answer, err error) {
	a.course.ending.Lock()
	defer a.course.ending.Unlock()
	var p *problem
	if errors.Is(err, errStopped) && !errors.As(err, &p) {
		err = a.course.end()
	}
	a.printEnd(name, out, err)
}

// printEnd is finish for who holds what guards it.
func (a *app) printEnd(name string, out answer, err error) {
	doc := document{Schema: "expunge/" + name + "/v1", Items: out.items, NotReached: out.notReached, Result: out.result, Errors: []documentError{}}
	if err != nil {
		p := a.explained(problemOf(err), err)
		doc.ExitStatus = p.code
		if !p.silent {
			doc.Errors = append(doc.Errors, documentError{p.name, p.Error(), p.hint})
		}
	}
	a.code = doc.ExitStatus
	if err := a.print(doc, out); err != nil {
		a.say("write result: %v", err)
		for _, line := range out.outcomes {
			a.say("%s", line)
		}
		if a.code == exitOK { // another says more than that it could not be told
			a.code = exitInternal
		}
	}
	if a.json != "" {
		return
	}
	for _, e := range doc.Errors {
		a.say("%s", e.Message)
		if e.Hint != "" {
			a.say("  %s", strings.ReplaceAll(e.Hint, "\n", "\n  "))
		}
	}
}

func (a *app) print(doc document, out answer) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	switch {
	case a.json == "stream":
		return stream(enc, doc)
	case a.json != "":
		enc.SetIndent("", "  ")
		return enc.Encode(doc)
	case out.text != nil:
		var b strings.Builder
		err := out.text(&b)
		_, written := io.WriteString(a.stdout, visible(a.pasteable(b.String())))
		return errors.Join(err, written)
	}
	return nil
}

// invocation is a command line of this program in a text for people.
var invocation = regexp.MustCompile(`\bexpunge (list|show|locate|plan|policy|run|jobs|watch|approve|halt|health|recover|certificate|validate|destroy|log|audit|key|trust|doctor)\b`)

// pasteable gives the command lines in a text the flags by which they find what this one found.
func (a *app) pasteable(text string) string {
	flags := ""
	if a.rack != "" {
		flags += " --rack " + quote(a.rack)
	}
	if a.state != "" {
		flags += " --state " + quote(a.state)
	}
	if flags == "" {
		return text
	}
	return invocation.ReplaceAllStringFunc(text, func(s string) string { return "expunge" + flags + strings.TrimPrefix(s, "expunge") })
}

// visible is text for a terminal: what a drive, a file or an agent says cannot move the cursor or hide a line.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// stream prints a document as lines: one per item, and the rest last.
func stream(enc *json.Encoder, doc document) error {
	items, err := json.Marshal(doc.Items)
	if err != nil {
		return err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(items, &list); err != nil {
		return err
	}
	for _, item := range list {
		if err := enc.Encode(map[string]any{"type": "item", "item": item}); err != nil {
			return err
		}
	}
	doc.Items = nil
	return enc.Encode(struct {
		Type string `json:"type"`
		document
	}{"result", doc})
}

// say tells a person something.
func (a *app) say(format string, args ...any) {
	var b strings.Builder
	for line := range strings.Lines(visible(a.pasteable(fmt.Sprintf(format, args...)))) {
		fmt.Fprintf(&b, "%s%s\n", speaker, strings.TrimRight(line, "\n"))
	}
	if a.course != nil {
		if p := a.course.drawing.Load(); p != nil {
			p.over(b.String())
			return
		}
	}
	fmt.Fprint(a.stderr, b.String())
}

func (a *app) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "expunge", Level: hclog.LevelFromString(a.logLevel), Output: a.stderr})
}

// host is this machine, or the rack.
func (a *app) host() (*devices.Host, agent.Owner, error) {
	if a.rack == "" {
		return devices.NewHost("/", devices.OpenNode, a.logger()), agent.Owner{Kind: "host"}, nil
	}
	rack, err := virtual.Open(a.rack)
	if err != nil {
		return nil, agent.Owner{}, err
	}
	return rack.Host(a.logger()), agent.Owner{Kind: "rack", ID: rack.ID()}, nil
}

// stateDir is where the agent's state is.
func (a *app) stateDir() (string, error) {
	switch {
	case a.state != "":
		return filepath.Abs(a.state)
	case a.rack != "":
		return filepath.Abs(filepath.Join(a.rack, "agent"))
	case os.Geteuid() == 0:
		return "/var/lib/expunge", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "expunge"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usage("name one with --state", errors.New("there is no place for state: HOME is not set"))
	}
	return filepath.Join(home, ".local/state/expunge"), nil
}

// release is set when a release is built.
var release string

// version is the release, or the revision that the program was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "development"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-modified"
		}
	}
	if revision == "" {
		return "development"
	}
	return "development-" + revision + dirty
}
