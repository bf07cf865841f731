package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// Rule is a condition and what follows where it holds: exactly one of Deny, Approvals and MinMethod.
type Rule struct {
	Name      string `json:"name"`
	When      string `json:"when"`                       // CEL, of type bool
	Deny      string `json:"deny,omitempty"`             // why the drive is refused
	Approvals int    `json:"require_approval,omitempty"` // how many people must approve, 1 to 4
	MinMethod string `json:"min_method,omitempty"`       // the least that is to be reached: clear or purge
	Because   string `json:"because,omitempty"`          // for people, beside an approval or a method
}

// Why is what a rule says for itself, for people.
func (r Rule) Why() string {
	if r.Deny != "" {
		return r.Deny
	}
	return r.Because
}

// The bounds of rules. What one costs is counted by CEL: about one for each step, a tenth for each byte or
// element that is looked at. The usual rule costs less than a hundred.
const (
	MaxRules     = 100
	MaxApprovals = 4
	maxWhen      = 4 << 10
	maxNodes     = 1000
	maxDepth     = 50
	maxNested    = 2 // loops within each other
	maxRegex     = 500
	maxCost      = 20_000
	maxMemory    = 100_000
)

// Error is a rule that is none: which of the list, from 0, and which word of it.
type Error struct {
	Index int
	Word  string
	Why   string
}

func (e *Error) Error() string { return fmt.Sprintf("rule %d: %s: %s", e.Index+1, e.Word, e.Why) }

// Set is a list of rules that can be judged, from several goroutines at once.
type Set struct {
	rules    []Rule
	programs []cel.Program
}

// Rules are those of the set, in their order.
func (s *Set) Rules() []Rule {
	if s == nil {
		return nil
	}
	return slices.Clone(s.rules)
}

var ruleName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// environment is what conditions can speak of. It is the same for all rules.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.CustomTypeProvider(provider{registry}), cel.CustomTypeAdapter(registry),
		ext.Strings(), ext.Sets(),
		cel.DefaultUTCTimeZone(true), cel.StrictTimestampParsing(true),
		cel.ParserExpressionSizeLimit(maxWhen), cel.ExpressionNodeLimit(maxNodes), cel.ParserRecursionLimit(maxDepth), cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(), cel.ValidateComprehensionNestingLimit(maxNested)),
		cel.Variable("now", cel.TimestampType),
	}
	for _, o := range objects {
		options = append(options, cel.Variable(o.name, o.cel))
	}
	return cel.NewEnv(options...)
})

// compiled remembers sets: a plan's policy is looked up again for every drive, and its rules are the same.
var compiled = struct {
	sync.Mutex
	sets []*Set // the last few
}{}

const remembered = 8

// Compile checks rules and makes them ready to be judged. The error is an *Error.
func Compile(list []Rule) (*Set, error) {
	if len(list) == 0 {
		return nil, nil
	}
	compiled.Lock()
	defer compiled.Unlock()
	if i := slices.IndexFunc(compiled.sets, func(s *Set) bool { return slices.Equal(s.rules, list) }); i >= 0 {
		return compiled.sets[i], nil
	}
	set, err := compileAll(list)
	if err != nil {
		return nil, err
	}
	compiled.sets = append([]*Set{set}, compiled.sets[:min(len(compiled.sets), remembered-1)]...)
	return set, nil
}

func compileAll(list []Rule) (*Set, error) {
	if len(list) > MaxRules {
		return nil, &Error{MaxRules, "name", fmt.Sprintf("%d rules, at most %d", len(list), MaxRules)}
	}
	env, err := environment()
	if err != nil {
		return nil, &Error{0, "when", err.Error()}
	}
	set := &Set{rules: slices.Clone(list)}
	for i, r := range list {
		if word, why := r.wrong(); why != "" {
			return nil, &Error{i, word, why}
		}
		if slices.ContainsFunc(list[:i], func(o Rule) bool { return o.Name == r.Name }) {
			return nil, &Error{i, "name", fmt.Sprintf("%s is the name of an earlier rule, too", r.Name)}
		}
		program, why := compile(env, r.When)
		if why != "" {
			return nil, &Error{i, "when", why}
		}
		set.programs = append(set.programs, program)
	}
	return set, nil
}

// wrong finds what is wrong with a rule beside its condition.
func (r Rule) wrong() (word, why string) {
	effects := 0
	for _, is := range []bool{r.Deny != "", r.Approvals != 0, r.MinMethod != ""} {
		if is {
			effects++
		}
	}
	switch {
	case !ruleName.MatchString(r.Name):
		return "name", fmt.Sprintf("%q is no name: lower-case letters, digits, dots, dashes", r.Name)
	case strings.TrimSpace(r.When) == "":
		return "name", fmt.Sprintf("%s has no condition: say when", r.Name)
	case effects == 0:
		return "name", fmt.Sprintf("%s does nothing: say one of deny, require_approval, min_method", r.Name)
	case effects > 1:
		return "name", fmt.Sprintf("%s does two things: say one of deny, require_approval, min_method", r.Name)
	case r.Approvals < 0 || r.Approvals > MaxApprovals:
		return "require_approval", fmt.Sprintf("%d is not 1 to %d", r.Approvals, MaxApprovals)
	case r.MinMethod != "" && r.MinMethod != "clear" && r.MinMethod != "purge":
		return "min_method", fmt.Sprintf("%q is not one of clear, purge", r.MinMethod)
	case r.Deny != "" && strings.TrimSpace(r.Deny) == "":
		return "deny", "say why"
	case r.Deny != "" && r.Because != "":
		return "because", "deny says why: leave it out"
	}
	for word, text := range map[string]string{"deny": r.Deny, "because": r.Because} {
		if len(text) > 500 || !printable(text) {
			return word, "one printable line of at most 500 bytes"
		}
	}
	if !printable(strings.NewReplacer("\n", "", "\t", "").Replace(r.When)) {
		return "when", "a character that cannot be printed: write it as an escape of CEL, such as \\u0007"
	}
	return "", ""
}

// printable says whether a text does nothing to a terminal but show itself.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
}

// compile makes a program of a condition, or says in words for people why it is none.
func compile(env *cel.Env, when string) (cel.Program, string) {
	if len(when) > maxWhen {
		return nil, fmt.Sprintf("%d bytes, at most %d", len(when), maxWhen)
	}
	checked, issues := env.Compile(when)
	if err := issues.Err(); err != nil {
		return nil, caret(err)
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Sprintf("it is of type %s, and must be true or false", checked.OutputType())
	}
	if why := unfit(checked.NativeRep()); why != "" {
		return nil, why
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.MemoryLimit(maxMemory), cel.InterruptCheckFrequency(64))
	if err != nil {
		return nil, err.Error()
	}
	return program, ""
}

// caret is the first of the library's messages, which show the place, without the name of an input that has
// none and the place of what has none. A line too long to be read is not shown.
func caret(err error) string {
	first, _, more := strings.Cut(strings.TrimPrefix(err.Error(), "ERROR: <input>:"), "\nERROR: <input>:")
	message, place, shown := strings.Cut(strings.TrimPrefix(first, "-1:0: "), "\n")
	if shown && len(place) < 500 {
		message += "\n" + place
	}
	if more {
		message += "\n(and more)"
	}
	return strings.ToValidUTF8(message[:min(len(message), 2000)], "")
}
