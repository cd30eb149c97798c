//! `#[remote]` on a function.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{ItemFn, Result, Type};

use crate::signature::{self, Arguments, Kind, Param};

pub(crate) fn expand(arguments: &Arguments, function: ItemFn) -> Result<TokenStream> {
    let ItemFn { attrs, vis, sig, block } = function;
    signature::check(&sig)?;
    let params = signature::params(&sig)?;
    if sig.receiver().is_some() {
        return Err(syn::Error::new_spanned(&sig, "put #[remote] on the impl block to make methods remote"));
    }
    let returned = signature::returned(&sig.output, arguments.single)?;
    let name = &sig.ident;
    let call_name = format_ident!("__actinic_{}_options", name);
    let (docs, others): (Vec<_>, Vec<_>) = attrs.into_iter().partition(|attr| attr.path().is_ident("doc"));
    let mut body = sig.clone();
    body.ident = format_ident!("__body");
    let text = signature::text(&sig);
    let imp = implementation(name, name, &params, &returned, sig.asyncness.is_some(), &text);
    let remote = remote_method(&params, &returned.output(), name, &quote!(&self), &quote!(::std::option::Option::None));
    let with_options = quote! {
        ::std::option::Option::Some(::std::sync::Arc::new(self.options))
    };
    let remote_with = remote_method(&params, &returned.output(), name, &quote!(self), &with_options);
    let split = split(&vis, name, &call_name, &params, &returned.kind, returned.fallible, sig.asyncness.is_some());
    let (names, types): (Vec<_>, Vec<_>) = params.iter().map(|param| (&param.name, &param.of)).unzip();
    let output = &sig.output;
    let (asyncness, wait) = match sig.asyncness {
        Some(asyncness) => (quote!(#asyncness), quote!(.await)),
        None => (quote!(), quote!()),
    };
    let about = format!("Options of a call of `{name}`.");
    Ok(quote! {
        #(#docs)*
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, Debug)]
        #vis struct #name;

        #[doc = #about]
        #[allow(non_camel_case_types, dead_code)]
        #[derive(Clone, Default)]
        #[must_use = "nothing is called before remote(..)"]
        #vis struct #call_name {
            options: ::actinic::__private::TaskOptions,
        }

        ::actinic::__task_options!(#call_name);

        #split

        const _: () = {
            #(#others)*
            #[allow(clippy::unused_async)]
            #body #block

            #imp

            #[allow(dead_code, unreachable_pub, clippy::too_many_arguments)]
            impl #name {
                /// Submits a call and gives references to its results at once.
                #remote

                /// Options for one call.
                pub fn options(&self) -> #call_name {
                    #call_name::default()
                }

                /// Runs the function here and now, as if it were not remote.
                pub #asyncness fn call(&self, #(#names: #types),*) #output {
                    __body(#(#names),*)#wait
                }
            }

            #[allow(dead_code, unreachable_pub, clippy::too_many_arguments)]
            impl #call_name {
                /// Submits a call with these options.
                #remote_with
            }

            ::actinic::__private::inventory::submit! {
                ::actinic::__private::RegisteredFunction {
                    name: <#name as ::actinic::__private::Function>::NAME,
                    signature: #text,
                    id: ::actinic::__private::function_id::<#name>,
                    import: ::actinic::__private::import::<#name>,
                }
            }
        };
    })
}

fn remote_method(
    params: &[Param],
    output: &TokenStream,
    of: &syn::Ident,
    receiver: &TokenStream,
    options: &TokenStream,
) -> TokenStream {
    let (names, types): (Vec<_>, Vec<_>) = params.iter().map(|param| (&param.name, &param.of)).unzip();
    quote! {
        pub fn remote(
            #receiver,
            #(#names: impl ::actinic::__private::IntoArg<#types>),*
        ) -> <#output as ::actinic::__private::Output>::Refs {
            ::actinic::__private::submit::<#of>(
                (#(::actinic::__private::IntoArg::<#types>::into_arg(#names),)*),
                #options,
            )
        }
    }
}

fn implementation(
    name: &syn::Ident,
    shown: &syn::Ident,
    params: &[Param],
    returned: &signature::Returned,
    is_async: bool,
    text: &str,
) -> TokenStream {
    let (names, types): (Vec<_>, Vec<_>) = params.iter().map(|param| (&param.name, &param.of)).unzip();
    let output = returned.output();
    let shown = shown.to_string();
    let run = if is_async || returned.is_stream() {
        let wait = if is_async { quote!(.await) } else { quote!() };
        let given = returned.given(&quote!(__body(#(#names),*)#wait));
        quote!(::actinic::__private::Body::Later(::std::boxed::Box::pin(async move { #given })))
    } else {
        let given = returned.given(&quote!(__body(#(#names),*)));
        quote!(::actinic::__private::Body::Now(#given))
    };
    let id = known_id(&quote!(function_id));
    quote! {
        impl ::actinic::__private::Function for #name {
            type Args = (#(::actinic::__private::Arg<#types>,)*);
            type Out = #output;
            const NAME: &'static str = ::std::concat!(::std::module_path!(), "::", #shown);
            const SIGNATURE: &'static str = #text;

            #id

            fn run(
                (#(#names,)*): <Self::Args as ::actinic::__private::ArgSet>::Params,
            ) -> ::actinic::__private::Body<<Self::Out as ::actinic::__private::Output>::Value> {
                #run
            }
        }
    }
}

/// What reckons an id once.
pub(crate) fn known_id(reckon: &TokenStream) -> TokenStream {
    quote! {
        fn id() -> ::actinic::__private::FunctionId {
            static ID: ::std::sync::OnceLock<::actinic::__private::FunctionId> = ::std::sync::OnceLock::new();
            *ID.get_or_init(::actinic::__private::#reckon::<Self>)
        }
    }
}

/// For a function that gives a vector: `options().num_returns(n)`, whose call gives `n` references.
fn split(
    vis: &syn::Visibility,
    name: &syn::Ident,
    call_name: &syn::Ident,
    params: &[Param],
    kind: &Kind,
    fallible: bool,
    is_async: bool,
) -> TokenStream {
    let Kind::Single(of) = kind else { return quote!() };
    let Some(item) = signature::inside_vec(of) else { return quote!() };
    let many = format_ident!("__actinic_{}_many", name);
    let (names, types): (Vec<_>, Vec<_>) = params.iter().map(|param| (&param.name, &param.of)).unzip();
    let output: Type = syn::parse_quote!(::actinic::__private::Many<#item>);
    let wait = if is_async { quote!(.await) } else { quote!() };
    let called = quote!(#name.call(#(#names),*)#wait);
    let given = if fallible {
        quote!(#called.map_err(::std::convert::Into::into))
    } else {
        quote!(::std::result::Result::Ok(#called))
    };
    let run = if is_async {
        quote!(::actinic::__private::Body::Later(::std::boxed::Box::pin(async move { #given })))
    } else {
        quote!(::actinic::__private::Body::Now(#given))
    };
    let remote = remote_method(
        params,
        &quote!(#output),
        &many,
        &quote!(self),
        &quote!(::std::option::Option::Some(::std::sync::Arc::new(self.options))),
    );
    quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code, missing_docs)]
        #[derive(Clone, Default)]
        #[must_use = "nothing is called before remote(..)"]
        #vis struct #many {
            options: ::actinic::__private::TaskOptions,
        }

        const _: () = {
            #[allow(dead_code, unreachable_pub)]
            impl #call_name {
                /// Splits the vector into as many objects; its length must be that number.
                pub fn num_returns(mut self, count_: usize) -> #many {
                    self.options.num_returns = ::std::option::Option::Some(count_);
                    #many { options: self.options }
                }
            }

            impl ::actinic::__private::Function for #many {
                type Args = (#(::actinic::__private::Arg<#types>,)*);
                type Out = #output;
                const NAME: &'static str = <#name as ::actinic::__private::Function>::NAME;
                const SIGNATURE: &'static str = <#name as ::actinic::__private::Function>::SIGNATURE;
                const SPLITS: bool = true;

                fn run(
                    (#(#names,)*): <Self::Args as ::actinic::__private::ArgSet>::Params,
                ) -> ::actinic::__private::Body<<Self::Out as ::actinic::__private::Output>::Value> {
                    #run
                }
            }

            #[allow(dead_code, unreachable_pub, clippy::too_many_arguments)]
            impl #many {
                /// Submits the call.
                #remote
            }

            ::actinic::__private::inventory::submit! {
                ::actinic::__private::RegisteredFunction {
                    name: <#name as ::actinic::__private::Function>::NAME,
                    signature: <#name as ::actinic::__private::Function>::SIGNATURE,
                    id: ::actinic::__private::function_id::<#many>,
                    import: ::actinic::__private::import::<#many>,
                }
            }
        };
    }
}
