// What the Python language host is built from: 3.79.0 is the last version of sdk/v3 that holds it, and a module
// of its own because the CLI needs a newer one.
module flaskhost/language

go 1.24

require github.com/pulumi/pulumi/sdk/v3 v3.79.0
