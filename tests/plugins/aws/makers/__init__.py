"""What the account makes of each kind of resource; to import one of these modules is to know its kinds."""
