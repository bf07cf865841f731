package rules

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// functions are those that a condition may use, beside operators and the macros all, exists, exists_one, filter,
// map and has. What makes much of little (replace, format, join) or lets a word be misspelled (dyn) is not among them.
var functions = []string{
	"size", "contains", "startsWith", "endsWith", "matches", "lowerAscii", "upperAscii", "trim", "indexOf", "lastIndexOf", "substring", "charAt", "split",
	"sets.contains", "sets.equivalent", "sets.intersects", "int", "double", "string", "timestamp", "duration", "type",
	"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds",
}

// unfit says what a condition must not do, though CEL lets it; "" for one that is right.
func unfit(a *ast.AST) string {
	why := ""
	for _, e := range ast.MatchDescendants(ast.NavigateAST(a), ast.AllMatcher()) {
		switch {
		case why != "":
		case e.Kind() == ast.StructKind:
			why = "objects are not made in a rule"
		case e.Kind() == ast.CallKind:
			call := e.AsCall()
			if name := call.FunctionName(); !isOperator(name) && !slices.Contains(functions, name) {
				why = fmt.Sprintf("%s is not there: rules have operators, has, all, exists, exists_one, filter, map, and %s", name, strings.Join(functions, ", "))
			} else {
				why = misspelled(a, call)
			}
		}
	}
	return why
}

func isOperator(name string) bool {
	_, is := operators.FindReverse(name)
	return is || name == operators.NotStrictlyFalse
}

// misspelled finds a fact of a few words compared with one that it never is: the condition would never hold.
func misspelled(a *ast.AST, call ast.CallExpr) string {
	args := call.Args()
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals:
		for i := range args {
			if why := notOneOf(a, args[i], args[1-i]); why != "" {
				return why
			}
		}
	case operators.In:
		if args[1].Kind() == ast.ListKind {
			for _, word := range args[1].AsList().Elements() {
				if why := notOneOf(a, args[0], word); why != "" {
					return why
				}
			}
		}
	}
	return ""
}

func notOneOf(a *ast.AST, fact, word ast.Expr) string {
	if fact.Kind() != ast.SelectKind || word.Kind() != ast.LiteralKind {
		return ""
	}
	o := typeByName(a.GetType(fact.AsSelect().Operand().ID()).TypeName())
	text, isText := word.AsLiteral().(types.String)
	if o == nil || !isText {
		return ""
	}
	f := o.field(fact.AsSelect().FieldName())
	if f == nil || len(f.words) == 0 || slices.Contains(f.words, string(text)) {
		return ""
	}
	return fmt.Sprintf("%s.%s is never %q: it is one of %s", o.name, f.name, string(text), strings.Join(f.words, ", "))
}
