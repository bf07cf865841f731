package sanitize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/rules"
)

// PolicyFile is what a site says in its own policy: how it differs from a built-in one. It travels
// in the plan and in the journal, and a Policy is made of it again wherever one is needed.
type PolicyFile struct {
	Name string `yaml:"policy" json:"policy"`
	Base string `yaml:"base" json:"base"`
	// Media are the kinds of media that the policy covers; none are all.
	Media []devices.Media `yaml:"media" json:"media,omitempty"`
	// Accept are readings of a standard that make a technique reach more than the base says.
	Accept map[string]bool       `yaml:"accept" json:"accept,omitempty"`
	Verify map[Method]VerifyMode `yaml:"verify" json:"verify,omitempty"` // what is done, and the least that may be asked for
	// CryptoConditions is "demanded" where a cryptographic erase alone shall reach purge only on
	// acknowledged models.
	CryptoConditions string                              `yaml:"crypto-conditions" json:"crypto-conditions,omitempty"`
	Acknowledged     []Acknowledgement                   `yaml:"acknowledged" json:"acknowledged,omitempty"`
	Rules            []PolicyRule                        `yaml:"rules" json:"rules,omitempty"` // by kind of drive, or by a condition
	Require          map[Category]map[Disposition]Method `yaml:"require" json:"require,omitempty"`
	Examples         []rules.Example                     `yaml:"examples" json:"-"` // for Policy.Try; they decide nothing
}

// Acknowledgement says why the conditions of cryptographic erase are taken to be met by a model.
type Acknowledgement struct {
	Model     string `yaml:"model" json:"model"` // as the drive says it; * at the end stands for anything
	Statement string `yaml:"statement" json:"statement"`
}

// PolicyRule is what the file says about drives of a kind, of which the first that fits a drive decides; or,
// with When, a condition in CEL with what follows where it holds, of which all are judged. An order is all that
// is used for its method; what a rule leaves out is as in the base.
type PolicyRule struct {
	Media     []devices.Media      `yaml:"media" json:"media,omitempty"`
	Bus       []devices.Protocol   `yaml:"bus" json:"bus,omitempty"`
	Purge     []Technique          `yaml:"purge" json:"purge,omitempty"`
	Clear     []Technique          `yaml:"clear" json:"clear,omitempty"`
	Forbid    []Technique          `yaml:"forbid" json:"forbid,omitempty"`
	Demand    []Technique          `yaml:"demand" json:"demand,omitempty"`
	Levels    map[Technique]Method `yaml:"levels" json:"levels,omitempty"` // downward only
	Overwrite string               `yaml:"overwrite" json:"overwrite,omitempty"`

	Name            string `yaml:"name" json:"name,omitempty"`                         // of a rule with a condition
	When            string `yaml:"when" json:"when,omitempty"`                         // the condition, in CEL
	Deny            string `yaml:"deny" json:"deny,omitempty"`                         // why drives for which it holds are refused
	RequireApproval *int   `yaml:"require_approval" json:"require_approval,omitempty"` // of how many people
	MinMethod       Method `yaml:"min_method" json:"min_method,omitempty"`             // no lower method
	Because         string `yaml:"because" json:"because,omitempty"`                   // told with it
}

// PolicyFileError is a policy file that is none. Line is where, from 1; 0 where that is not one line.
type PolicyFileError struct {
	Line int
	Why  string
}

func (e *PolicyFileError) Error() string {
	if e.Line == 0 {
		return e.Why
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Why)
}

// maxPolicyFile bounds a policy file; one page is the usual.
const maxPolicyFile = 64 << 10

// ParsePolicy reads a policy file: YAML in which every word must be known. The error is a
// *PolicyFileError.
func ParsePolicy(data []byte) (Policy, error) {
	var f PolicyFile
	document, err := decodeYAML(data, maxPolicyFile, "a policy", &f)
	if err != nil {
		return Policy{}, err
	}
	p, err := f.compile()
	var wrong *ruleError
	if errors.As(err, &wrong) {
		return Policy{}, &PolicyFileError{lineOf(document, wrong.path), wrong.why}
	}
	return p, err
}

// decodeYAML reads one plain YAML document of at most so many bytes, in which every word must be one of v's. The
// error is a *PolicyFileError.
func decodeYAML(data []byte, most int, what string, v any) (*yaml.Node, error) {
	if len(data) > most {
		return nil, &PolicyFileError{0, fmt.Sprintf("%d bytes, at most %d", len(data), most)}
	}
	var document, more yaml.Node
	read := yaml.NewDecoder(bytes.NewReader(data))
	if err := read.Decode(&document); errors.Is(err, io.EOF) {
		return nil, &PolicyFileError{0, "the file is empty"}
	} else if err != nil {
		return nil, yamlError(err, what)
	}
	if err := read.Decode(&more); err == nil {
		return nil, &PolicyFileError{more.Line, "a second document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(err, what)
	}
	if err := plain(&document); err != nil {
		return nil, err
	}
	words := yaml.NewDecoder(bytes.NewReader(data))
	words.KnownFields(true)
	if err := words.Decode(v); err != nil {
		return nil, yamlError(err, what)
	}
	return &document, nil
}

// plain refuses what a reader could overlook: references to other parts of the file, tags, and
// words with nothing behind them, which would read as if they demanded something.
func plain(n *yaml.Node) error {
	empty := n.Kind != yaml.ScalarNode && n.Kind != yaml.AliasNode && len(n.Content) == 0 || n.Kind == yaml.ScalarNode && strings.TrimSpace(n.Value) == ""
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "" || n.Tag == "!!merge" || n.Style&yaml.TaggedStyle != 0:
		return &PolicyFileError{n.Line, "anchors, aliases and tags are not used here: write it out"}
	case empty || n.Tag == "!!null":
		return &PolicyFileError{n.Line, "nothing is said here: say something, or leave the word out"}
	case n.Kind == yaml.DocumentNode && n.Content[0].Kind != yaml.MappingNode:
		return &PolicyFileError{n.Line, "not a list of words with values, such as policy: site-policy"}
	}
	for _, c := range n.Content {
		if err := plain(c); err != nil {
			return err
		}
	}
	return nil
}

// lineOf finds the line of a place: keys and indexes from the top.
func lineOf(n *yaml.Node, path []any) int {
	n = n.Content[0]
	line := n.Line
	for _, step := range path {
		var next *yaml.Node
		switch key := step.(type) {
		case int:
			if n.Kind == yaml.SequenceNode && key < len(n.Content) {
				next = n.Content[key]
				line = next.Line
			}
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					next = n.Content[i+1]
					line = n.Content[i].Line
				}
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return line
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (.*) not found in type .*$`)
	yamlType    = regexp.MustCompile("^cannot unmarshal \\S+ (`.*` )?into .*$")
)

// yamlError words what the YAML library found in the terms of the file, which is one of what.
func yamlError(err error, what string) *PolicyFileError {
	text := err.Error()
	var types *yaml.TypeError
	if errors.As(err, &types) {
		text = types.Errors[0]
	}
	e := &PolicyFileError{0, strings.TrimPrefix(text, "yaml: ")}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		e.Why = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			e.Line = n
		}
	}
	if m := yamlUnknown.FindStringSubmatch(e.Why); m != nil {
		e.Why = fmt.Sprintf("%q is not a word of %s here", m[1], what)
	} else if m := yamlType.FindStringSubmatch(e.Why); m != nil {
		e.Why = strings.TrimSpace(m[1]) + " is not the kind of value that belongs here"
		if m[1] == "" {
			e.Why = "not the kind of value that belongs here"
		}
	}
	return e
}
