package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Field is one fact as a rule names it.
type Field struct {
	Object string   // drive, request, …; "" of a fact that stands alone
	Name   string   // size_bytes, …
	Type   string   // in CEL: string, int, bool, list(string), timestamp
	Words  []string // all that it can be; none: anything
	About  string
}

// Fields are all facts, in the order of the documentation.
func Fields() []Field {
	var all []Field
	for _, o := range objects {
		for _, f := range o.fields {
			all = append(all, Field{o.name, f.name, f.cel.String(), slices.Clone(f.words), f.about})
		}
	}
	return append(all, Field{"", "now", "timestamp", nil, "when it is judged: at planning, and again before the work begins"})
}

// objectType is a struct of facts as CEL sees it.
type objectType struct {
	name   string
	cel    *cel.Type
	fields []*field
}

type field struct {
	name  string
	index int
	cel   *cel.Type
	words []string
	about string
}

// objects are the types, by the variables that hold them.
var objects = []*objectType{
	newObjectType("drive", Drive{}), newObjectType("request", Request{}), newObjectType("requester", Requester{}),
	newObjectType("host", Host{}), newObjectType("plan", Plan{}),
}

// newObjectType takes names and words from the tags of a struct of string, *int64, *bool and []string.
func newObjectType(name string, of any) *objectType {
	o := &objectType{name: name, cel: cel.ObjectType("expunge." + name)}
	t := reflect.TypeOf(of)
	for i := range t.NumField() {
		f := t.Field(i)
		own := &field{name: f.Tag.Get("yaml"), index: i, about: f.Tag.Get("about")}
		if words := f.Tag.Get("words"); words != "" {
			own.words = strings.Split(words, ",")
		}
		switch f.Type {
		case reflect.TypeFor[string]():
			own.cel = cel.StringType
		case reflect.TypeFor[*int64]():
			own.cel = cel.IntType
		case reflect.TypeFor[*bool]():
			own.cel = cel.BoolType
		case reflect.TypeFor[[]string]():
			own.cel = cel.ListType(cel.StringType)
		}
		o.fields = append(o.fields, own)
	}
	return o
}

func (o *objectType) field(name string) *field {
	if i := slices.IndexFunc(o.fields, func(f *field) bool { return f.name == name }); i >= 0 {
		return o.fields[i]
	}
	return nil
}

// typeByName finds the type by its name in CEL.
func typeByName(name string) *objectType {
	if i := slices.IndexFunc(objects, func(o *objectType) bool { return o.cel.TypeName() == name }); i >= 0 {
		return objects[i]
	}
	return nil
}

// object is a struct of facts as a value of CEL. Unlike the library's own objects it has no defaults: what is
// not set cannot be read.
type object struct {
	of    *objectType
	value reflect.Value
}

func (o *object) known(f *field) bool { return !o.value.Field(f.index).IsZero() }

func (o *object) read(f *field) (any, error) {
	if !o.known(f) {
		return nil, fmt.Errorf("%s.%s is not known: has(%s.%s) asks whether it is", o.of.name, f.name, o.of.name, f.name)
	}
	v := o.value.Field(f.index)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v.Interface(), nil
}

// ConvertToNative is refused: facts do not leave CEL.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s is no %v", o.of.name, t)
}

// ConvertToType is refused but for the type itself.
func (o *object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.of.cel
	}
	return types.NewErr("%s is no %s", o.of.name, t.TypeName())
}

// Equal is refused: what is not known of two would be neither equal nor not.
func (o *object) Equal(ref.Val) ref.Val {
	return types.NewErr("%s is not compared as a whole", o.of.name)
}

// Type is its type.
func (o *object) Type() ref.Type { return o.of.cel }

// Value is itself: what the accessors of its fields take.
func (o *object) Value() any { return o }

// provider adds the types of facts to the library's own.
type provider struct{ types.Provider }

// FindStructType finds a type of facts.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if o := typeByName(name); o != nil {
		return types.NewTypeTypeWithParam(o.cel), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames lists the facts of a type.
func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	o := typeByName(name)
	if o == nil {
		return p.Provider.FindStructFieldNames(name)
	}
	var names []string
	for _, f := range o.fields {
		names = append(names, f.name)
	}
	return names, true
}

// FindStructFieldType says how a fact is read.
func (p provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	o := typeByName(name)
	if o == nil {
		return p.Provider.FindStructFieldType(name, fieldName)
	}
	f := o.field(fieldName)
	if f == nil {
		return nil, false
	}
	return &types.FieldType{
		Type: f.cel,
		IsSet: func(target any) bool {
			own, ok := target.(*object)
			return ok && own.of == o && own.known(f)
		},
		GetFrom: func(target any) (any, error) {
			own, ok := target.(*object)
			if !ok || own.of != o {
				return nil, fmt.Errorf("%T has no %s", target, f.name)
			}
			return own.read(f)
		},
	}, true
}

// NewValue is refused: facts are given, not made up.
func (p provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if typeByName(name) != nil {
		return types.NewErr("%s cannot be made in a rule", name)
	}
	return p.Provider.NewValue(name, fields)
}

// variables are the facts under the names by which rules know them. A time that is not known is left out.
func (f Facts) variables() map[string]any {
	all := map[string]any{}
	for i, v := range []any{f.Drive, f.Request, f.Requester, f.Host, f.Plan} {
		all[objects[i].name] = &object{objects[i], reflect.ValueOf(v)}
	}
	if !f.Now.IsZero() {
		all["now"] = f.Now
	}
	return all
}

// AggregateSize is what it counts for where memory is bounded: one, for the facts are there anyway.
func (o *object) AggregateSize(types.AggregateSizer) uint32 { return 1 }
