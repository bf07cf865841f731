package server

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// wordsJSON has the comments of all forms and their members, as the sources say them: {"agent/api.Job": …, "agent/api.Job.State": …}.
//
//go:embed words.json
var wordsJSON []byte

func readWords() (map[string]string, error) {
	words := map[string]string{}
	if err := json.Unmarshal(wordsJSON, &words); err != nil {
		return nil, fmt.Errorf("words.json: %w", err)
	}
	return words, nil
}

// explain gives a schema and its properties descriptions.
func explain(s *huma.Schema, t reflect.Type, words map[string]string) {
	s.Description = words[wordKey(t, "")]
	for _, f := range members(t) {
		if p := s.Properties[f.name]; p != nil && p.Description == "" {
			p.Description = words[wordKey(f.of, f.field)]
		}
	}
}

// member is one of a form in JSON, and the field that it is.
type member struct {
	name, field string
	of          reflect.Type // that has the field: of an embedded one, not the form itself
}

// members are those of a form, with those of what is embedded in it behind its own, which hide them.
func members(t reflect.Type) []member {
	var own, embedded []member
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			e := f.Type
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct {
				embedded = append(embedded, members(e)...)
			}
		case f.IsExported() && name != "-":
			if name == "" {
				name = f.Name
			}
			own = append(own, member{name, f.Name, t})
		}
	}
	return append(own, embedded...)
}

// wordKey names a type or a field of it in words.json.
func wordKey(t reflect.Type, field string) string {
	key := strings.TrimPrefix(t.PkgPath(), "github.com/expunge-dev/expunge/") + "." + t.Name()
	if field != "" {
		key += "." + field
	}
	return key
}
