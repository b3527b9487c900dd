// What the Pulumi CLI is built from where the vendor's download cannot be reached (ops/setup/engine.py).
module flaskhost/cli

go 1.25.11

require (
	github.com/pulumi/pulumi/pkg/v3 v3.255.0
	github.com/pulumi/pulumi/sdk/v3 v3.255.0
)

// As pkg's own go.mod has it: a replacement there does not reach those who import it.
replace github.com/atotto/clipboard => github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e
