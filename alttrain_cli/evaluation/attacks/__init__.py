"""Attacks over several calls, as a measuring tool: does a model keep its safety against them?"""
