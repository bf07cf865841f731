// Package generated is a client of the agent's interface as a generator makes it of docs/openapi.yaml. It is used by tests alone.
package generated
