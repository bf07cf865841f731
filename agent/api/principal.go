package api

import (
	"context"
	"slices"
)

// Role is what somebody may do.
type Role string

// The roles. None includes another: whoever operates is also given Read.
const (
	Read    Role = "read"    // see drives, plans, jobs, events, certificates
	Operate Role = "operate" // plan, start, cancel, resume, abandon, halt, locate
	Approve Role = "approve" // hand in approvals, and end a halt
)

// Roles are all roles.
var Roles = []Role{Read, Operate, Approve}

// Principal is somebody who asks, as the connection proves it: never as the request says.
type Principal struct {
	Name   string   // "uid:1000", or "cert:" and the URI or the common name of a client's certificate
	Groups []string // "gid:100"
	Roles  []Role
	Via    string // "unix", "tls", "local" (this process)
}

// May says whether the principal has a role.
func (p Principal) May(r Role) bool { return slices.Contains(p.Roles, r) }

type principalKey struct{}

// WithPrincipal says who asks.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf is who asks. Somebody unknown has no roles.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}
