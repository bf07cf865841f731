package server

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/expunge-dev/expunge/agent/api"
)

const documentText = `What an expunge agent does for those who ask it.

Reached by a Unix socket, where the kernel says who asks, or by TLS 1.3 with certificates on both sides. The agent's configuration gives roles (read, operate, approve) to users, groups and certificates; a request cannot.

Drives are found, then planned; a plan is approved where that is demanded, and started as a job by its digest. A job goes on whoever goes away. Only exit_status 0, or the outcome sanitized with a certificate, is success: an answer that is missing, or a value that is not known here, is not.

Every POST is an act with an Idempotency-Key. Every error is application/problem+json (RFC 9457), with a code that is stable. Members are added over time and never change their meaning: clients pass over those that they do not know. The agent refuses those that it does not know.`

const eventsText = `Replays what was recorded of the job after a cursor, and follows it until it has ended or nobody is at work on it; the last event is of the type job. A stream that ends without one was cut off: come again with the cursor of the last event that has one, and nothing that was recorded is missed.

Each event is an object of the schema Event. As text/event-stream it is the data of an SSE event whose type is its member type, and whose id is its cursor; as application/x-ndjson it is a line. Every 15 s without events a comment, or an empty line, says that the stream is alive. Whoever does not read for 30 s is dropped. Whoever may watch no more, because their certificate expired or its CA is not trusted any more, is told so within as long (type problem, code unauthorized), and is dropped.`

const keyText = `A new random text for each act, of printable ASCII. Asked again with the same one, also after a broken connection or a restart of the agent, an act is not done twice: its first answer comes again, for 7 days. With another request it is refused (409, key_reused). At most 20,000 answers, or 256 MB of them, are kept for one who asks; what is over that is refused (429, too_many_keys) and not done, unless it cancels a job, and no answer is forgotten for it. Where the header Expunge-Answer-Kept is no, the act is done and its answer could not be kept; where it is yes, the answer is kept and is what came of the act. A refusal without it is of this request alone: where an earlier one with the same key had no answer, the act may have been done.`

// schemaName names forms: those of agent/api as they are, others with their package before them.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	switch pkg := t.PkgPath(); {
	case pkg == "" || t.Name() == "" || strings.HasSuffix(pkg, "agent/api") || strings.HasSuffix(pkg, "agent/server"):
		return name
	default:
		pkg = pkg[strings.LastIndexByte(pkg, '/')+1:]
		return strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
}

// describeEvents says what a stream is made of.
func describeEvents(a huma.API) func(*huma.Operation) {
	return func(o *huma.Operation) {
		event := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Event](), true, "")
		o.Responses = map[string]*huma.Response{"200": {Description: "Events, until the job has ended.", Content: map[string]*huma.MediaType{
			"application/x-ndjson": {Schema: event},
			"text/event-stream":    {Schema: &huma.Schema{Type: huma.TypeString, Description: "SSE: the data of each event is an object of the schema Event."}},
		}}}
	}
}

// document finishes the description: forms that go out may have more members than are known today, and every member is explained.
func document(o *huma.OpenAPI) ([]byte, error) {
	schemas := o.Components.Schemas
	words, err := readWords()
	if err != nil {
		return nil, err
	}
	in := map[string]bool{}
	for _, item := range o.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put} {
			if op != nil && op.RequestBody != nil {
				for _, media := range op.RequestBody.Content {
					reach(schemas, media.Schema, in)
				}
			}
		}
	}
	for name, schema := range schemas.Map() {
		if !in[name] && schema.AdditionalProperties == false {
			schema.AdditionalProperties = nil
		}
		if t := schemas.TypeFromRef("#/components/schemas/" + name); t != nil {
			explain(schema, t, words)
		}
	}
	event := schemas.Map()["Event"]
	event.Required = []string{"type"}
	data, err := o.YAML()
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return data, nil
}

// reach collects the names of the schemas that one is made of.
func reach(r huma.Registry, s *huma.Schema, names map[string]bool) {
	if s == nil {
		return
	}
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		if names[name] {
			return
		}
		names[name] = true
		reach(r, r.SchemaFromRef(s.Ref), names)
		return
	}
	reach(r, s.Items, names)
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		reach(r, more, names)
	}
	for _, p := range s.Properties {
		reach(r, p, names)
	}
}
