"""Pictures, players, films and widgets: what a reader of a notebook sees and moves."""
