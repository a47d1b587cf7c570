"""The whole road as one run, for the demo.

config    what the demo takes, filled into the configs of its stages
run       the stages, each in a folder, and the report
summary   before and after beside each other
"""
