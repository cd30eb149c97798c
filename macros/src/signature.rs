//! What the macros read out of a signature: arguments, and the kind of result.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    parse::{Parse, ParseStream},
    spanned::Spanned,
    Error, FnArg, GenericArgument, Ident, LitInt, PathArguments, Result, ReturnType, Signature, Token, Type,
    TypeParamBound,
};

/// The attribute's own arguments.
pub(crate) struct Arguments {
    pub(crate) single: bool,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut single = false;
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            if name != "num_returns" {
                return Err(Error::new_spanned(name, "unknown argument; #[remote(num_returns = 1)] is the only one"));
            }
            input.parse::<Token![=]>()?;
            let count: LitInt = input.parse()?;
            if count.base10_parse::<usize>()? != 1 {
                return Err(Error::new_spanned(count, "1 keeps a tuple in one object; nothing else can be asked here"));
            }
            single = true;
            let _ = input.parse::<Option<Token![,]>>()?;
        }
        Ok(Self { single })
    }
}

/// One argument.
pub(crate) struct Param {
    pub(crate) name: Ident,
    pub(crate) of: Type,
}

/// What a call gives.
pub(crate) enum Kind {
    Single(Type),
    Tuple(Vec<Type>),
    Iter(Type),
    Stream(Type),
}

/// A result.
pub(crate) struct Returned {
    pub(crate) fallible: bool,
    pub(crate) kind: Kind,
}

/// Refuses what cannot be remote.
pub(crate) fn check(signature: &Signature) -> Result<()> {
    let refuse = |spanned: &dyn quote::ToTokens, message: &str| Err(Error::new_spanned(TokensOf(spanned), message));
    if !signature.generics.params.is_empty() {
        return refuse(
            &signature.generics,
            "a remote function or method cannot be generic: each needs a name of its own",
        );
    }
    if let Some(unsafety) = &signature.unsafety {
        return refuse(unsafety, "a remote function or method cannot be unsafe");
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "a remote function cannot be variadic");
    }
    Ok(())
}

struct TokensOf<'a>(&'a dyn quote::ToTokens);

impl quote::ToTokens for TokensOf<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}

/// The arguments but for `self`.
pub(crate) fn params(signature: &Signature) -> Result<Vec<Param>> {
    let mut params = Vec::new();
    for (at, input) in signature.inputs.iter().enumerate() {
        let FnArg::Typed(typed) = input else { continue };
        if let Type::Reference(reference) = typed.ty.as_ref() {
            return Err(Error::new_spanned(
                reference,
                "a remote call takes values, which may come from another machine: ask for the value, not for a borrow \
                 (a method that is for this program only can be marked #[local])",
            ));
        }
        if let Type::ImplTrait(any) = typed.ty.as_ref() {
            return Err(Error::new_spanned(any, "a remote call needs the exact type of each argument"));
        }
        let name = match typed.pat.as_ref() {
            syn::Pat::Ident(ident) => ident.ident.clone(),
            _ => format_ident!("arg{at}"),
        };
        params.push(Param { name, of: typed.ty.as_ref().clone() });
    }
    if params.len() > 10 {
        return Err(Error::new_spanned(
            &signature.inputs,
            "a remote call takes ten arguments at most; put them into a struct",
        ));
    }
    Ok(params)
}

/// The kind of result; a tuple is one object each unless `single`.
pub(crate) fn returned(output: &ReturnType, single: bool) -> Result<Returned> {
    let ReturnType::Type(_, of) = output else {
        return Ok(Returned { fallible: false, kind: Kind::Single(syn::parse_quote!(())) });
    };
    let (fallible, value) = match inside_result(of) {
        Some(value) => (true, value),
        None => (false, of.as_ref().clone()),
    };
    Ok(Returned { fallible, kind: kind_of(value, single)? })
}

fn kind_of(value: Type, single: bool) -> Result<Kind> {
    match &value {
        Type::Tuple(tuple) if (2..=6).contains(&tuple.elems.len()) && !single => {
            Ok(Kind::Tuple(tuple.elems.iter().cloned().collect()))
        }
        Type::Reference(_) => Err(Error::new(value.span(), "a remote call gives values, not borrows")),
        Type::ImplTrait(any) => {
            let item = |name: &str| any.bounds.iter().find_map(|bound| item_of(bound, name));
            if let Some(of) = item("Iterator") {
                Ok(Kind::Iter(of))
            } else if let Some(of) = item("Stream") {
                Ok(Kind::Stream(of))
            } else {
                Err(Error::new(
                    value.span(),
                    "a remote call can give `impl Iterator<Item = T>` or `impl Stream<Item = T>`, and no other impl",
                ))
            }
        }
        _ => Ok(Kind::Single(value)),
    }
}

/// `T` of `Result<T, …>`, whatever path the `Result` has.
pub(crate) fn inside_result(of: &Type) -> Option<Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Result")?;
    first_type(&last.arguments)
}

/// `T` of `Vec<T>`.
pub(crate) fn inside_vec(of: &Type) -> Option<Type> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Vec")?;
    first_type(&last.arguments)
}

fn first_type(arguments: &PathArguments) -> Option<Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(of) => Some(of.clone()),
        _ => None,
    })
}

fn item_of(bound: &TypeParamBound, name: &str) -> Option<Type> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let last = bound.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(item.ty.clone()),
        _ => None,
    })
}

impl Returned {
    /// The type of the places for the results.
    pub(crate) fn output(&self) -> TokenStream {
        match &self.kind {
            Kind::Single(of) => quote!(::actinic::__private::Single<#of>),
            Kind::Iter(of) | Kind::Stream(of) => quote!(::actinic::__private::Streaming<#of>),
            Kind::Tuple(all) => {
                let name = format_ident!("{}", ["Pair", "Triple", "Quadruple", "Quintuple", "Sextuple"][all.len() - 2]);
                quote!(::actinic::__private::#name<#(#all),*>)
            }
        }
    }

    /// Turns the value of `given`, an expression of the function's own type, into a `Given`.
    pub(crate) fn given(&self, given: &TokenStream) -> TokenStream {
        let value = match &self.kind {
            Kind::Single(_) | Kind::Tuple(_) => quote!(__value),
            Kind::Iter(_) => quote!(::actinic::__private::StreamSource::Iter(::std::boxed::Box::new(__value))),
            Kind::Stream(_) => {
                quote!(::actinic::__private::StreamSource::Async(::actinic::__private::StreamExt::boxed(__value)))
            }
        };
        if self.fallible {
            quote! {
                match #given {
                    ::std::result::Result::Ok(__value) => ::std::result::Result::Ok(#value),
                    ::std::result::Result::Err(__error) => ::std::result::Result::Err(::std::convert::Into::into(__error)),
                }
            }
        } else {
            quote!({ let __value = #given; ::std::result::Result::Ok(#value) })
        }
    }

    /// Whether the results come by and by from async code.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(_))
    }
}

/// A signature's types as text.
pub(crate) fn text(signature: &Signature) -> String {
    let inputs = &signature.inputs;
    let output = &signature.output;
    quote!((#inputs) #output).to_string()
}
