"""The mechanisms that everything else is made of; nothing here knows a layer."""
